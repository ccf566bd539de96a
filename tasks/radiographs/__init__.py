"""Radiographs on their way from the bucket to pixels."""
