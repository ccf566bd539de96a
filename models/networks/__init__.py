"""Keras networks: built by name, begun with learned weights, explained by Grad-CAM."""
