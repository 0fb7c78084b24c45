"""What a killed DVC run leaves behind, and the way back.

DVC guards a repository with `.dvc/tmp/lock`, an advisory lock that dies with its process, and with `.dvc/tmp/rwlock`,
a JSON list of who reads and writes which path, which does not: killed while it rewrites that list, DVC leaves it empty,
and every later run fails. The same holds for `dvc.lock`, which DVC rewrites in place after each stage.
"""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from pipeline.core.errors import DataError, SightlineError
from pipeline.io.files import write_bytes


def repair(root: Path) -> list[str]:
    """Mend what a killed run left in the repository at `root`, and say so, a line a finding.

    - A read-write lock that is unreadable or names dead processes is removed.
    - A half-written dvc.lock keeps its whole stages, or else becomes the committed one, or else goes; the broken file
      stays beside it as dvc.lock.broken. Stages that are lost this way come back from DVC's run cache or run again.
    - Commands that outlived their run are named; ending them is the user's decision.

    Raises:
        DataError: `root` is no DVC repository.
        SightlineError: DVC is at work here.
    """
    root = root.resolve()
    if not (root / ".dvc").is_dir():
        raise DataError(f"{root.name} has no .dvc folder; run this from the root of the repository")
    tmp = root / ".dvc" / "tmp"
    rwlocks = [tmp / "rwlock", tmp / "exps" / "rwlock"]
    guards = [tmp / "lock", *(path.with_name("rwlock.lock") for path in rwlocks)]
    with contextlib.ExitStack() as stack:
        for path in guards:
            stack.enter_context(_guarded(path))
        orphans = _orphans(root, rwlocks)
        told = [line for path in rwlocks for line in _repair_rwlock(path, root)]
        told += _repair_lockfile(root / "dvc.lock")
    return told + [
        f"process {p.pid} outlived its run and may still write: {_command(p)}; wait for it, or: kill {p.pid}"
        for p in orphans
    ]


@contextlib.contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Hold one of DVC's own locks, so that no run starts meanwhile."""
    from dvc.lock import LockError, make_lock  # noqa: PLC0415 - only this command pays for the import

    if not path.parent.is_dir():
        yield
        return
    lock = make_lock(str(path))
    try:
        lock.lock()
    except LockError:
        raise _at_work("another process holds its lock") from None
    try:
        yield
    finally:
        lock.unlock()


def _at_work(who: str) -> SightlineError:
    return SightlineError(f"DVC is at work in this repository ({who}); wait for it to end, or end it, and try again")


def _orphans(root: Path, rwlocks: list[Path]) -> list[psutil.Process]:
    """Commands of stages whose run is dead, outermost only. Raises SightlineError where a run is alive."""
    family = {p.pid: p for p in psutil.process_iter() if _dvc_root(p) == root}
    parents = {p.pid: [q for q in _parents(p) if q.pid not in family] for p in family.values()}
    named = [p for pid in _named(rwlocks) if (p := _process(pid))]
    for run in [*named, *(q for above in parents.values() for q in above)]:
        if _is_dvc(run):
            raise _at_work(f"process {run.pid}: {_command(run)}")
    return [p for p in family.values() if _parent(p) not in family and _command(p)]  # what has ended has no command


def _named(rwlocks: list[Path]) -> set[int]:
    """Process ids in read-write locks that can be read."""
    entries = [entry for path in rwlocks for entry in _entries(path) or ()]
    return {int(entry["pid"]) for entry in entries}


def _entries(path: Path) -> list[dict[str, Any]] | None:
    """Who reads and writes, by a read-write lock; None where it cannot be read."""
    from dvc.rwlock import SCHEMA  # noqa: PLC0415
    from voluptuous import Invalid  # noqa: PLC0415 - what DVC's schemas raise

    if not path.is_file():
        return []
    try:
        lock = SCHEMA(json.loads(path.read_bytes()))
    except (ValueError, Invalid):
        return None
    return [*lock["write"].values(), *(entry for entries in lock["read"].values() for entry in entries)]


def _repair_rwlock(path: Path, root: Path) -> list[str]:
    """Remove a lock that is unreadable or names somebody: by now it is known that nobody lives."""
    entries = _entries(path)
    if entries == []:
        return []
    path.unlink()
    why = "could not be read" if entries is None else "named processes that are dead"
    return [f"{path.relative_to(root)} {why}; removed"]


def _repair_lockfile(path: Path) -> list[str]:
    if not path.exists() or _is_lockfile(text := path.read_bytes().decode(errors="replace")):
        return []
    write_bytes(path.with_name(f"{path.name}.broken"), path.read_bytes())
    told = f"{path.name} was half-written; it lies in {path.name}.broken"
    if kept := whole_stages(text):
        write_bytes(path, kept.encode())
        return [f"{told}, and its whole stages were kept"]
    if kept := _committed(path):
        write_bytes(path, kept.encode())
        return [f"{told}, and the committed one is back"]
    path.unlink()
    return [f"{told}, and no stage of it could be kept"]


def whole_stages(text: str) -> str:
    """The longest beginning of a broken dvc.lock that ends before a stage and is valid; "" where no stage is whole."""
    lines = text.splitlines(keepends=True)
    heads = [number for number, line in enumerate(lines) if re.match(r"  \S", line)]
    beginnings = ("".join(lines[:head]) for head in reversed(heads))
    return next(filter(_is_lockfile, beginnings), "")


def _is_lockfile(text: str) -> bool:
    """Whether DVC reads it, and it ends as DVC ends it."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA  # noqa: PLC0415
    from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml  # noqa: PLC0415
    from voluptuous import Invalid  # noqa: PLC0415

    try:
        COMPILED_LOCKFILE_SCHEMA(parse_yaml(text, "dvc.lock"))
    except (YAMLFileCorruptedError, Invalid):
        return False
    return text.endswith("\n")


def _committed(path: Path) -> str:
    """The file as git last committed it; "" where it did not, or where that is broken too."""
    command = ["git", "show", f"HEAD:./{path.name}"]
    shown = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    return shown.stdout if shown.returncode == 0 and _is_lockfile(shown.stdout) else ""


def _process(pid: int) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid)
    return None


def _parents(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return process.parents()
    return []


def _parent(process: psutil.Process) -> int | None:
    with contextlib.suppress(psutil.Error):
        return process.ppid()
    return None


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _dvc_root(process: psutil.Process) -> Path | None:
    """The repository whose stage a process belongs to: DVC names it in the environment of every command."""
    with contextlib.suppress(psutil.Error):
        root = process.environ().get("DVC_ROOT")
        return Path(root).resolve() if root else None
    return None


def _is_dvc(process: psutil.Process) -> bool:
    """Whether a process is a running DVC: ids are reused, and a killed run may stay a while, without a command."""
    return any(Path(part).name == "dvc" for part in _command(process).split()[:4])
