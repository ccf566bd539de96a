"""A retraining's record, its evidence, its verdict, and the pages about it."""
