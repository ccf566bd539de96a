"""Radiographs: from objects in the bucket to pixels."""
