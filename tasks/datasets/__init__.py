"""Labelled images, their splits by patient, and the data set that a training learns from."""
