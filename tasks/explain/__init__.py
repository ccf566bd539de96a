"""Explaining a prediction: what a model answers for one image, and where it looked."""
