"""Evidence that is too old or too much is deleted, the oldest first."""

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

STAMP = "%Y%m%dT%H%M%S"
SUFFIXES = (".mp4", ".jpg", ".json")
# Only what is named as we name it is ever deleted: a file that someone else put there stays.
_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z-[a-z]+-\d+")
_UNFINISHED = re.compile(r"\.\d{8}T\d{6}\.\d{3}Z-[a-z]+-\d+\.(mp4|jpg|json)\.\w+")  # a crash left it
UNFINISHED_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Exhibit:
    """The files of one alarm."""

    time: datetime  # from its name; a file's own times change when it is copied
    paths: tuple[Path, ...]
    size: int  # bytes


def name_of(time: datetime, kind: str, number: int) -> str:
    """A name for the files of an alarm: time, kind and a number, nothing about who was there."""
    utc = time.astimezone(UTC)
    return f"{utc.strftime(STAMP)}.{utc.microsecond // 1000:03}Z-{kind}-{number}"


def exhibits(folder: Path) -> list[Exhibit]:
    """All evidence below a folder, oldest first."""
    found: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in folder.glob("*/*"):
        if path.suffix in SUFFIXES and _time(path.stem) and path.is_file() and not path.is_symlink():
            found[path.parent, path.stem].append(path)
    every = [
        Exhibit(time, tuple(sorted(paths)), sum(path.stat().st_size for path in paths))
        for (_, stem), paths in found.items()
        if (time := _time(stem))
    ]
    return sorted(every, key=lambda it: (it.time, it.paths))


def enforce(folder: Path, now: datetime, days: float, max_bytes: int) -> list[Path]:
    """Delete evidence older than `days`, then the oldest until the rest is at most `max_bytes`. What was deleted.

    The file that lists an exhibit goes first, so what a crash leaves over is seen as incomplete, and deleted next time.
    """
    limit = now - timedelta(days=days)
    every = exhibits(folder)
    total = sum(it.size for it in every)
    gone = [path for path in folder.glob("*/.*") if _UNFINISHED.fullmatch(path.name) and _stale(path, now)]
    for it in every:
        if it.time >= limit and total <= max_bytes:
            break
        gone += sorted(it.paths, key=lambda path: path.suffix != ".json")
        total -= it.size
    for path in gone:
        path.unlink(missing_ok=True)
    return gone


def _time(stem: str) -> datetime | None:
    """The time in a name; None where the name is not one of ours."""
    try:
        return datetime.strptime(stem[:15], STAMP).replace(tzinfo=UTC) if _NAME.fullmatch(stem) else None
    except ValueError:
        return None


def _stale(path: Path, now: datetime) -> bool:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC) < now - UNFINISHED_FOR
