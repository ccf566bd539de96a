"""What people see of nights: figures, reports, drift, triggers."""
