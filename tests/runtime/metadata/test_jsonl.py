"""JSON lines: what is in them, and what is not."""

import json
from pathlib import Path
from typing import Any

from pipeline.runtime.metadata.jsonl import JsonLines
from pipeline.runtime.metadata.scene import Clock, Scene
from pipeline.runtime.metadata.sink import MetadataSink
from tests.scenes import CLASSES, START, Seen, event, track


def written(folder: Path, *seen: Seen) -> list[Any]:
    sink = MetadataSink(Scene(CLASSES, Clock(START)), [JsonLines(folder)])
    for it in seen:
        sink.emit(it)
    sink.close()
    return [json.loads(line) for line in (folder / "metadata-000001.jsonl").read_text().splitlines()]


def test_a_frame_is_a_line(tmp_path: Path) -> None:
    assert written(tmp_path, Seen(tracks=[track(42, score=0.91234567)])) == [
        {
            "type": "frame",
            "time": "2026-11-28T08:40:17.120Z",
            "camera": "lobby",
            "ids_since": "2026-11-28T00:00:00.000Z",
            "objects": [{"id": 1, "class": "person", "score": 0.91235, "box": [0.1, 0.1, 0.3, 0.9]}],
        }
    ]


def test_begin_and_end_of_an_event_are_lines(tmp_path: Path) -> None:
    begin, end = written(
        tmp_path,
        Seen(timestamp_s=1.5, detected=False, events=[event()]),
        Seen(timestamp_s=9.0, detected=False, events=[event(end_s=4.0)]),
    )
    assert begin == {
        "type": "event",
        "time": "2026-11-28T08:40:18.620Z",
        "camera": "lobby",
        "state": "begin",
        "kind": "presence",
        "class": "person",
        "zone": "door",
        "direction": "",
        "start": "2026-11-28T08:40:18.120Z",
        "end": None,
        "confirmed": "2026-11-28T08:40:18.620Z",
        "ids": [1],
        "score": 0.93,
        "alarm": True,
    }
    changed = {"time": "2026-11-28T08:40:26.120Z", "state": "end", "end": "2026-11-28T08:40:21.120Z"}
    assert end == begin | changed


def test_nothing_else_is_told_of_an_object(tmp_path: Path) -> None:
    """A picture, a crop, an embedding or the tracker's own id would be a key or a value that is not listed here."""
    frame, told = written(tmp_path, Seen(tracks=[track(987654)], events=[event(track_ids=(987654,))]))
    assert set(frame) == {"type", "time", "camera", "ids_since", "objects"}
    assert set(frame["objects"][0]) == {"id", "class", "score", "box"}
    assert "987654" not in json.dumps([frame, told])
    assert len(told) == 14


def test_names_in_any_script_are_one_ascii_line(tmp_path: Path) -> None:
    (line,) = written(tmp_path, Seen(detected=False, events=[event(zone="Tür\u2028\n門")]))
    assert line["zone"] == "Tür\u2028\n門"
    assert (tmp_path / "metadata-000001.jsonl").read_bytes().isascii()
