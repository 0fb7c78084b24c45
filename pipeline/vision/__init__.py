"""Pixels: quality figures, augmentation policies, drawing."""
