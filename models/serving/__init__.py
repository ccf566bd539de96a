"""Stored models and the runtimes that score with them."""
