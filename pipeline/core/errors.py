"""One root for every error that a user can mend; anything else is a defect of ours and keeps its traceback."""


class SightlineError(Exception):
    """What went wrong, where, and the way out, in words for the person at the terminal."""


class ConfigError(SightlineError):
    """A parameter is missing, unknown or out of range."""


class DataError(SightlineError):
    """A file from outside does not hold what it should."""


class LeakageError(SightlineError):
    """The same scene reached both sides of a split."""
