"""How one step is done: plain functions, the only place where IO meets logic."""
