"""Torch: detectors, losses, the training loop, prediction."""
