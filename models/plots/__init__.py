"""Plots as SVG, and pictures as JPEG and PNG, for pages."""
