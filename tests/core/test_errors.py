import math

import pytest

from pipeline.core.errors import ConfigError, DataError, LeakageError, SightlineError, require


@pytest.mark.parametrize("kind", [ConfigError, DataError, LeakageError])
def test_every_error_that_a_user_can_mend_has_one_root(kind: type[Exception]) -> None:
    assert issubclass(kind, SightlineError)


def test_require_imports() -> None:
    assert require("math", extra="arithmetic") is math


def test_require_names_the_extra() -> None:
    with pytest.raises(SightlineError, match=r"no_such_module is not installed; run: pip install 'sightline\[gpu\]'"):
        require("no_such_module", extra="gpu")
