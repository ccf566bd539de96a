"""The gate: the rules that a challenger must pass, and the decision."""
