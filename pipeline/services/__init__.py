"""Servers and outside engines: MLflow, Hydra composition, DVC housekeeping."""
