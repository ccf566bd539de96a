"""How good a model is on a test set, with confidence intervals, and how models differ."""
