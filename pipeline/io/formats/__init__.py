"""Annotation formats, each pure both ways, with two thin functions that touch the disk."""
