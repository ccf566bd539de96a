"""Labels: reading, checking and importing sheets, with the history of every label."""
