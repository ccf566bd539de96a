"""A stored model and the runtimes that it answers with."""
