"""What people said, taken from the server byte for byte, so that the annotate stage needs no server."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError, SightlineError
from pipeline.core.params import LabellingParams
from pipeline.core.progress import progress
from pipeline.io.files import file_sha256, read_json, sha256, whole_folder, write_bytes, write_json
from pipeline.services.label_studio import Project, Server

CHUNK = 200  # tasks an export request: their numbers still fit into an address

Part = tuple[list[int], str]  # the tasks' numbers, and a hash that changes when one of them does


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did."""

    tasks: int
    fetched: int  # tasks in the parts that had changed
    changed: bool  # whether the snapshot is another than before


def pull(server: Server, p: LabellingParams, snapshot: Path, *, full: bool = False) -> Pulled:
    """Take a snapshot of the project: the server's own export, byte for byte, in parts of 200 tasks.

    Only parts with a task that changed since the last pull are fetched. The snapshot is replaced as a whole or not at
    all. `<snapshot>.json` beside it says when it was taken and from which release; it enters no hash.

    Args:
        server: where from.
        p: the project.
        snapshot: folder, `data/labels/export`.
        full: fetch everything; it also notices drafts, which Label Studio does not count as a change.

    Raises:
        SightlineError: the project is gone or empty, or the server refuses or stays away; the snapshot is as it was.
    """
    project = server.project(p.project)
    parts = _parts(server.tasks(project, "id", "updated_at"))
    if not parts:
        raise SightlineError(f"project {p.project!r} holds no task; run: sightline labels push")
    note = _note_path(snapshot)
    before = _before(note, server, project)
    hashes = {} if full else _kept(snapshot, before, parts)
    tasks, fetched = (sum(len(parts[n][0]) for n in names) for names in (parts, parts.keys() - hashes.keys()))
    if not fetched and hashes.keys() == before.keys():
        return Pulled(tasks, 0, changed=False)
    with whole_folder(snapshot) as folder:
        for name in hashes:
            (folder / name).hardlink_to(snapshot / name)
        hashes |= _fetch(server, project, {name: part for name, part in parts.items() if name not in hashes}, folder)
    write_json(note, _note(server, project, parts, hashes))
    return Pulled(tasks, fetched, changed={name: it["sha256"] for name, it in before.items()} != hashes)


def changed_since(server: Server, project: Project, tasks: Iterable[Mapping[str, Any]], snapshot: Path) -> int | None:
    """How many tasks lie in parts that changed since the last pull; None where there was none."""
    before = _before(_note_path(snapshot), server, project)
    parts = _parts(tasks)
    kept = _kept(snapshot, before, parts)
    return sum(len(ids) for name, (ids, _) in parts.items() if name not in kept) if before else None


def _note_path(snapshot: Path) -> Path:
    return snapshot.with_name(f"{snapshot.name}.json")


def _parts(tasks: Iterable[Mapping[str, Any]]) -> dict[str, Part]:
    """File name of each part, with its tasks. A task's number decides its part, so new tasks move none."""
    blocks: dict[int, list[tuple[int, str]]] = {}
    for task in tasks:
        blocks.setdefault(task["id"] // CHUNK, []).append((task["id"], task["updated_at"]))
    return {
        f"tasks-{block:06d}.json": ([number for number, _ in sorted(tasks)], sha256(repr(sorted(tasks)).encode()))
        for block, tasks in sorted(blocks.items())
    }


def _before(note: Path, server: Server, project: Project) -> Mapping[str, Mapping[str, str]]:
    """The parts of the last pull; none where there is no note of it, or it was of another project."""
    try:
        found = read_json(note)
        same = (found["server"], found["project"]) == (server.url, project.id)
        return {name: {key: str(it[key]) for key in ("mark", "sha256")} for name, it in found["parts"].items() if same}
    except (DataError, KeyError, TypeError, AttributeError):
        return {}


def _kept(snapshot: Path, before: Mapping[str, Mapping[str, str]], parts: Mapping[str, Part]) -> dict[str, str]:
    """Hashes of the parts that are as the server has them, and on disk as they came."""
    return {
        name: before[name]["sha256"]
        for name, (_, mark) in parts.items()
        if name in before
        and before[name]["mark"] == mark
        and (snapshot / name).is_file()
        and file_sha256(snapshot / name) == before[name]["sha256"]
    }


def _fetch(server: Server, project: Project, parts: Mapping[str, Part], folder: Path) -> dict[str, str]:
    hashes = {}
    total = sum(len(ids) for ids, _ in parts.values())
    with progress(total=total, desc="pull", unit="task") as bar:
        for name, (ids, _) in parts.items():
            data = server.export(project, ids)
            write_bytes(folder / name, data)
            hashes[name] = sha256(data)
            bar.update(len(ids))
    return hashes


def _note(server: Server, project: Project, parts: Mapping[str, Part], hashes: Mapping[str, str]) -> dict[str, Any]:
    return {
        "server": server.url,
        "release": server.version(),
        "project": project.id,
        "title": project["title"],
        "pulled_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "parts": {name: {"mark": mark, "sha256": hashes[name]} for name, (_, mark) in parts.items()},
    }
