"""Labels: sheets read, checked, and imported with their history."""
