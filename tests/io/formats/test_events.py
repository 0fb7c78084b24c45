"""Files of events."""

import json
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.core.events import TruthEvent
from pipeline.io.formats.events import from_events, read_events

DEMO = Path(__file__).parents[3] / "data" / "demo" / "events"
GOOD = {"class": "person", "track_id": 1, "enter_s": 6, "leave_s": 19.7, "zone": "door", "condition": "night"}


def test_the_demos_events() -> None:
    """Counts and the first event are those of its README and its files."""
    events = read_events(DEMO)
    tracks = {camera: sum(it.camera == camera for it in events) for camera in ("lot_a", "lobby", "hall", "lot_b")}
    assert len(events) == 19
    assert tracks == {"lot_a": 4, "lobby": 6, "hall": 1, "lot_b": 4}
    assert read_events(DEMO / "lobby.json")[0] == TruthEvent("lobby", "person", 6.1, 19.7)


def test_all_fields() -> None:
    assert from_events([GOOD], "hall", "f") == [TruthEvent("hall", "person", 6.0, 19.7, "door", "night")]
    assert from_events([], "hall", "f") == []


@pytest.mark.parametrize(
    ("document", "told"),
    [
        pytest.param({"events": []}, "f: expected a list, got dict", id="no-list"),
        pytest.param([GOOD, 5], "event 1: must be an object, got 5", id="no-object"),
        pytest.param([{**GOOD, "clas": 1}], "event 0.clas: no such key; did you mean event 0.class?", id="unknown-key"),
        pytest.param([{"class": "a", "enter_s": 1}], "event 0.leave_s: missing", id="missing"),
        pytest.param([{**GOOD, "enter_s": "6"}], "event 0.enter_s: must be a valid number, got '6'", id="text"),
        pytest.param([{**GOOD, "enter_s": -1}], "event 0.enter_s: must be at least 0, got -1", id="before-the-clip"),
        pytest.param([{**GOOD, "leave_s": float("nan")}], "event 0.leave_s: must be a finite number", id="nan"),
        pytest.param([{**GOOD, "enter_s": 20}], "event 0: leave_s must not be before enter_s", id="backwards"),
        pytest.param([{**GOOD, "class": ""}], "event 0.class: must have at least 1 character", id="no-class"),
    ],
)
def test_what_is_told_of_a_wrong_file(document: object, told: str) -> None:
    with pytest.raises(DataError) as caught:
        from_events(document, "hall", "f")
    assert told in str(caught.value)


def test_all_problems_come_at_once_up_to_ten() -> None:
    with pytest.raises(DataError) as caught:
        from_events([{**GOOD, "enter_s": -i} for i in range(1, 16)], "hall", "f")
    lines = str(caught.value).splitlines()
    assert (lines[0], lines[1], lines[-1], len(lines)) == (
        "f: mend these events",
        "  event 0.enter_s: must be at least 0, got -1",
        "  and 5 more",
        12,
    )


def test_a_folder_must_hold_one_file_a_camera(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no \.json file of events; give the folder that holds one for each"):
        read_events(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hall.json").write_text(json.dumps([GOOD]))
    with pytest.raises(DataError, match=r"several files of events are named hall\.json"):
        read_events(tmp_path)
    assert len(read_events(tmp_path / "a")) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff"])
def test_a_broken_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "hall.json").write_bytes(content)
    with pytest.raises(DataError, match=r"hall\.json is not JSON"):
        read_events(tmp_path)
