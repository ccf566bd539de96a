"""Phantoms: drawn radiographs, intact and spoiled, for trying out and testing the system."""
