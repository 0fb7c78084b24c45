"""One root for every error that a user can mend; anything else is a defect of ours and keeps its traceback."""

import importlib
from types import ModuleType


class SightlineError(Exception):
    """What went wrong, where, and the way out, in words for the person at the terminal."""


class ConfigError(SightlineError):
    """A parameter is missing, unknown or out of range."""


class DataError(SightlineError):
    """A file from outside does not hold what it should."""


class LeakageError(SightlineError):
    """The same scene reached both sides of a split."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package, or name the extra that brings it.

    Raises:
        SightlineError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise SightlineError(f"{module} is not installed; run: pip install 'sightline[{extra}]'") from error
