"""Drawn radiographs, intact and spoiled, for trying the system out."""
