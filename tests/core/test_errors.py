import pytest

from pipeline.core.errors import ConfigError, DataError, LeakageError, SightlineError


@pytest.mark.parametrize("kind", [ConfigError, DataError, LeakageError])
def test_every_error_that_a_user_can_mend_has_one_root(kind: type[Exception]) -> None:
    assert issubclass(kind, SightlineError)
