import pytest

from tests.squares import Squares


@pytest.fixture
def squares() -> Squares:
    return Squares(32)
