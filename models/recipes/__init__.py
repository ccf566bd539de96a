"""Recipes: what can be trained."""
