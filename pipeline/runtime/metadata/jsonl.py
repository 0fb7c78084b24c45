"""Metadata as JSON lines, a frame or an event a line."""

import json
from pathlib import Path
from typing import Any

from pipeline.runtime.metadata.lines import LineFiles
from pipeline.runtime.metadata.scene import SceneEvent, SceneFrame, SceneObject, iso

DIGITS = 5  # a hundredth of a pixel in a picture 1000 wide


class JsonLines:
    """An output of JSON lines: `metadata-000001.jsonl` and following.

    Args:
        folder: of the files.
        max_bytes: a file's, before the next begins.
        keep: so many files stay.
    """

    def __init__(self, folder: Path, max_bytes: int = 64 << 20, keep: int = 10) -> None:
        self._files = LineFiles(folder, "metadata", ".jsonl", max_bytes, keep)

    def frame(self, it: SceneFrame) -> None:
        """See `Output.frame`."""
        self._files.write(line(frame_record(it)))

    def event(self, it: SceneEvent) -> None:
        """See `Output.event`."""
        self._files.write(line(event_record(it)))

    def close(self) -> None:
        """See `Output.close`."""
        self._files.close()


def frame_record(it: SceneFrame) -> dict[str, Any]:
    """A frame as JSON values. Boxes are [left, top, right, bottom], shares of the picture, y down."""
    return {
        "type": "frame",
        "time": iso(it.time),
        "camera": it.camera,
        "ids_since": iso(it.since) if it.since else None,
        "objects": [_object(found) for found in it.objects],
    }


def event_record(it: SceneEvent) -> dict[str, Any]:
    """The begin or end of an event as JSON values."""
    return {
        "type": "event",
        "time": iso(it.time),
        "camera": it.camera,
        "state": "begin" if it.end is None else "end",
        "kind": it.kind,
        "class": it.label,
        "zone": it.zone,
        "direction": it.direction,
        "start": iso(it.start),
        "end": iso(it.end) if it.end else None,
        "confirmed": iso(it.confirmed),
        "ids": list(it.numbers),
        "score": round(it.score, DIGITS),
        "alarm": it.alarm,
    }


def line(record: dict[str, Any]) -> str:
    """Compact JSON of one line, in ASCII: no character of a name can pass for a line's end."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def _object(it: SceneObject) -> dict[str, Any]:
    return {
        "id": it.number,
        "class": it.label,
        "score": round(it.score, DIGITS),
        "box": [round(value, DIGITS) for value in it.box],
    }
