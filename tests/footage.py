"""Footage whose field test can be worked out by hand: to the model of `exports` what is bright is a person."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.core.types import Annotation, Assignment, Frame, Split
from pipeline.io.tables import write_annotations, write_frames, write_splits

FPS = 5
SIDE = 96  # pixels; square, so that nothing is filled up
BOX = (24.0, 24.0, 72.0, 72.0)  # where the person is
DARK, BRIGHT = 16, 204  # grey levels; their means are the scores, 0.06 and 0.8
CLASSES = ("person", "vehicle")
THRESHOLDS = {"person": 0.5, "vehicle": 1.0}  # nothing is ever a vehicle

Span = tuple[float, float]


def picture(number: int, *, bright: bool) -> NDArray[np.uint8]:
    """An RGB picture with a sensor's noise."""
    noise = np.random.default_rng(number).integers(-4, 5, (SIDE, SIDE, 1))
    return np.repeat((BRIGHT if bright else DARK) + noise, 3, axis=2).astype(np.uint8)


def write_clip(path: Path, seconds: float, bright: Sequence[Span] = ()) -> Path:
    """A clip of H.264, bright from the begin of each span to before its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = SIDE, SIDE, "yuv420p", FPS
        for n in range(round(seconds * FPS)):
            lit = any(start <= n / FPS < end for start, end in bright)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(n, bright=lit), "rgb24")))
        container.mux(stream.encode())
    return path


def write_events(path: Path, spans: Sequence[Span], **more: Any) -> None:
    """A person in each span."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"class": "person", "enter_s": start, "leave_s": end, **more} for start, end in spans]
    path.write_text(json.dumps(rows))


def write_model(folder: Path, write_export: Callable[..., Path]) -> Path:
    """The export of target cpu."""
    return write_export(folder / "export" / "cpu", thresholds=THRESHOLDS)


def write_tables(
    root: Path, frames: Sequence[Frame] = (), splits: Sequence[Split] = (), labels: Sequence[Annotation] = ()
) -> None:
    """What was ingested, labelled and split; a frame without a split comes last and is not labelled."""
    write_frames(root / "frames/frames.parquet", list(frames))
    write_annotations(root / "annotations/annotations.parquet", list(labels))
    rows = [Assignment(it.frame_id, split, it.camera) for it, split in zip(frames, splits, strict=False)]
    write_splits(root / "splits/splits.parquet", rows)


def ingested(clip: str, times: Sequence[float], camera: str = "", **changes: Any) -> list[Frame]:
    """Frames of a clip at these seconds."""
    return [
        Frame(f"{clip}@{t:g}", camera or clip, clip, round(t * FPS), t, SIDE, SIDE, f"{clip}.mp4", **changes)
        for t in times
    ]


def person(frame: Frame, track: str = "1", **changes: Any) -> Annotation:
    """The person in a labelled frame."""
    x1, y1, x2, y2 = BOX
    return Annotation(frame.frame_id, "person", x1, y1, x2 - x1, y2 - y1, track_id=track, **changes)
