"""What people see of a night: figures, reports, drift and retraining triggers."""
