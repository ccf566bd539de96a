"""Check measurements against expectations."""
