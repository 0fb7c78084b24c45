"""What runs at the edge: contract, sessions, pre- and post-processing. No torch."""
