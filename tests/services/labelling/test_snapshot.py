import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import SightlineError
from pipeline.services.labelling.push import push
from pipeline.services.labelling.snapshot import pull

SNAPSHOT = Path("data/labels/export")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def annotate(site: Any, position: int) -> None:
    site.server.send("POST", f"api/tasks/{site.tasks()[position]['id']}/annotations", {"result": []})


@pytest.fixture
def pushed(site: Any) -> Any:
    push(site.server, site.p, site.items)
    return site


def test_the_snapshot_is_the_servers_export_byte_for_byte(pushed: Any) -> None:
    assert pull(pushed.server, pushed.p, SNAPSHOT).changed
    project = pushed.server.project(pushed.p.project)
    whole = b"".join(bytes_of(SNAPSHOT).values())
    ids = [task["id"] for task in json.loads(whole)]
    assert whole == pushed.server.export(project, ids)
    assert ids == [task["id"] for task in pushed.tasks()]


def test_an_unchanged_server_gives_unchanged_bytes(pushed: Any) -> None:
    pull(pushed.server, pushed.p, SNAPSHOT)
    before, note = bytes_of(SNAPSHOT), SNAPSHOT.with_name("export.json").read_bytes()
    assert pull(pushed.server, pushed.p, SNAPSHOT).fetched == 0
    assert SNAPSHOT.with_name("export.json").read_bytes() == note
    again = pull(pushed.server, pushed.p, SNAPSHOT, full=True)
    assert (again.fetched, again.changed) == (len(pushed.items), False)
    assert bytes_of(SNAPSHOT) == before


def test_what_people_did_since_is_fetched(pushed: Any) -> None:
    pull(pushed.server, pushed.p, SNAPSHOT)
    annotate(pushed, 1)
    assert pull(pushed.server, pushed.p, SNAPSHOT).changed
    tasks = json.loads(b"".join(bytes_of(SNAPSHOT).values()))
    assert [len(task["annotations"]) for task in tasks] == [0, 1, 0]


@pytest.mark.parametrize("damage", [b"[]", None], ids=["edited", "deleted"])
def test_a_damaged_snapshot_is_mended(pushed: Any, damage: bytes | None) -> None:
    pull(pushed.server, pushed.p, SNAPSHOT)
    before = bytes_of(SNAPSHOT)
    (part,) = SNAPSHOT.iterdir()
    part.unlink()
    if damage:
        part.write_bytes(damage)
    assert pull(pushed.server, pushed.p, SNAPSHOT).fetched == len(pushed.items)
    assert bytes_of(SNAPSHOT) == before


def test_an_empty_project_leaves_the_snapshot_alone(site: Any) -> None:
    SNAPSHOT.mkdir(parents=True)
    (SNAPSHOT / "tasks-000000.json").write_bytes(b"[]")
    with pytest.raises(SightlineError, match="holds no task; run: sightline labels push"):
        pull(site.server, site.p, SNAPSHOT)
    assert bytes_of(SNAPSHOT) == {"tasks-000000.json": b"[]"}
