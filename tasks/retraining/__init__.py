"""A retraining's record, evidence, verdict and pages."""
