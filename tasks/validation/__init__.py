"""Measurements held against expectations."""
