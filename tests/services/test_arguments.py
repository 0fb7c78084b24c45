import argparse

import pytest

from pipeline.services.arguments import count


def test_a_count_is_at_least_one() -> None:
    assert count("12") == 12
    with pytest.raises(argparse.ArgumentTypeError, match="must be at least 1, got 0"):
        count("0")
