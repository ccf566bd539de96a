"""Campaigns: see `python -m tests.soak --help`."""
