"""`make bench`: how fast a night is, with the limits measured beside it in the same run."""
