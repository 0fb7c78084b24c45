"""What runs a model: one small engine for each library."""
