"""How far long work has got: a bar that moves in a terminal; in a log its state every half minute."""

import sys
from collections.abc import Iterable
from typing import Any, Never, TypeVar, overload

from tqdm import tqdm

T = TypeVar("T")

LOG_SECONDS = 30.0  # what is over sooner writes nothing into a log


@overload
def progress(items: Iterable[T], **options: Any) -> "tqdm[T]": ...
@overload
def progress(items: None = None, **options: Any) -> "tqdm[Never]": ...
def progress(items: Iterable[Any] | None = None, **options: Any) -> "tqdm[Any]":
    """A bar of tqdm with its `options` (`desc`, `total`, `unit`), for a terminal or for a log, whichever stderr is."""
    if not sys.stderr.isatty():
        options |= {"delay": LOG_SECONDS, "mininterval": LOG_SECONDS, "maxinterval": LOG_SECONDS}
    return tqdm(items, **options)
