"""What the command lines of several commands have in common."""

import argparse


def count(text: str) -> int:
    """A number of things, at least one, of what stands on the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value
