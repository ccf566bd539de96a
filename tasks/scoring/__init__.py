"""A night, step by step: discovery, intake, inference, predictions."""
