"""Tasks for Label Studio, with what a model proposes for each: pre-annotations, in its JSON import format."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from pipeline.core.types import Detections, Frame
from pipeline.io.formats.label_config import LABEL
from pipeline.io.formats.lookup import frame_path

Json = dict[str, Any]


def frame_data(frame: Frame, *, video: bool) -> Json:
    """A task's data but for the picture's address: what leads back to the frame, and what people may filter by."""
    place: Json = {"frame_index": frame.index, "timestamp_s": frame.timestamp_s} if video else {}
    return {
        "frame_id": frame.frame_id,
        "camera": frame.camera,
        "clip": frame.clip,
        **place,
        "source": frame_path(frame, video=video),
        **{f"frame_{name}": value for name, value in sorted(frame.attributes.items())},
    }


def file_name(frame: Frame, *, video: bool) -> str:
    """The name under which a frame's picture is sent: its id, so that it is found again."""
    return frame.frame_id + PurePosixPath(frame_path(frame, video=video)).suffix.lower()


def key_of(data: Mapping[str, Any]) -> str:
    """What a task shows: a frame's id, or the clip of a video; "" where neither is said."""
    return str(data.get("frame_id") or (data.get("clip") if data.get("video") else "") or "")


def prediction(found: Detections, classes: Sequence[str], size: tuple[int, int], version: str) -> Json:
    """Detections as one prediction. Its score is the mean of its regions' scores, 0 where there are none.

    Args:
        found: boxes in pixels of the upright picture.
        classes: names of the detections' labels.
        size: width and height of the upright picture, pixels.
        version: which model says so; annotators see it.
    """
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
    regions = [
        rectangle(f"{version}-{number}", classes[label], box, size) | {"score": round(score, 4)}
        for number, (box, score, label) in enumerate(rows)
    ]
    mean = float(found.scores.mean()) if len(found) else 0.0
    return {"model_version": version, "score": round(mean, 4), "result": regions}


def rectangle(name: str, label: str, xyxy: Sequence[float], size: tuple[int, int]) -> Json:
    """One upright box, pixels in, percent out."""
    width, height = size
    left, top, right, bottom = xyxy
    return {
        "id": name,
        "from_name": LABEL,
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {
            "x": 100 * left / width,
            "y": 100 * top / height,
            "width": 100 * (right - left) / width,
            "height": 100 * (bottom - top) / height,
            "rotation": 0,
            "rectanglelabels": [label],
        },
    }
