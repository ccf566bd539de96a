"""Where it runs: settings, clients, the local stack."""
