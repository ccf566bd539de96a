"""Training jobs: their arrays, their worker process, their results."""
