"""How good a model is on a test set, with intervals, and how two models differ."""
