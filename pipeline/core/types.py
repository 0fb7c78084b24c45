"""The values that flow from stage to stage. Boxes in memory are pixel xyxy, on disk pixel xywh, both upright."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError


class Split(StrEnum):
    """What a frame may be used for."""

    TRAIN = "train"
    VAL = "val"
    BENCHMARK = "benchmark"
    GAP = "gap"  # left out: too close in time to another split


class Origin(StrEnum):
    """Where an annotation comes from."""

    HUMAN = "human"
    CORRECTED = "corrected"  # a prediction that a person accepted or changed
    IMPORT = "import"  # an existing data set


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of one camera, and where its bytes are.

    `frame_id` begins the SHA-256 of the stored bytes, so two rows with one id are the same picture; only one of them
    is usable. A quarantined frame has a `reason` and, where its bytes are of no use, no shard.
    """

    frame_id: str
    camera: str
    clip: str  # the source video, or the folder of an image
    index: int  # frame index in the clip, from 0; position in the sorted folder for images
    timestamp_s: float | None  # seconds from the start of the clip; None for single images
    width: int  # upright, pixels; 0 where the picture could not be opened
    height: int
    source: str  # path below the data root, POSIX style
    shard: str = ""  # file name in the shards' folder
    offset: int = 0  # bytes
    length: int = 0  # bytes
    reason: str = ""  # why it is quarantined; "" means usable
    sha256: str = ""
    phash: str = ""  # 64-bit perceptual hash, hex
    duplicate_of: str = ""  # frame_id of the first frame with the same bytes, or with the same look in another clip
    luminance: float = 0.0  # mean luma, 0..255
    contrast: float = 0.0  # standard deviation of luma
    sharpness: float = 0.0  # variance of the Laplacian
    under_exposed: float = 0.0  # share of pixels at or below luma 5
    over_exposed: float = 0.0  # share of pixels at or above luma 250
    attributes: Mapping[str, str] = field(default_factory=dict)  # from the manifest: weather, time of day, site ...

    @property
    def usable(self) -> bool:
        """Whether the frame may go on through the cycle."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class Annotation:
    """One box that people (or an import) put on a frame, in pixels of the upright image."""

    frame_id: str
    label: str
    x: float
    y: float
    width: float
    height: float
    ignore: bool = False  # neither a truth nor a false alarm: a crowd, a sliver, a reflection
    track_id: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    origin: Origin = Origin.HUMAN
    annotators: tuple[str, ...] = ()
    agreement: float | None = None  # mean IoU of the annotators' boxes with the consensus; None with one annotator

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """Corners: left, top, right, bottom."""
        return self.x, self.y, self.x + self.width, self.y + self.height


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """A frame that somebody has looked at, even where they found nothing: without it, empty is not negative."""

    frame_id: str
    task: str  # the task's id at its source, for the way back
    annotators: tuple[str, ...] = ()
    agreement_iou: float | None = None  # mean IoU of matched boxes, mean over pairs of annotators
    agreement_f1: float | None = None  # F1 of matching at IoU 0.5, mean over pairs of annotators


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which split a frame belongs to, and the group that moved it there as a whole."""

    frame_id: str
    split: Split
    group: str


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Detections in one frame, best first. N = number of boxes.

    Raises:
        DataError: the arrays' lengths, shapes or values do not fit together.
    """

    boxes: NDArray[np.float32]  # (N, 4) pixel xyxy
    scores: NDArray[np.float32]  # (N,) in 0..1
    labels: NDArray[np.int64]  # (N,) index into the classes

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.labels.shape != (n,):
            raise DataError(
                f"detections: expected (N, 4) boxes, (N,) scores, (N,) labels; got {self.boxes.shape}, "
                f"{self.scores.shape}, {self.labels.shape}"
            )
        if not (np.isfinite(self.boxes).all() and np.isfinite(self.scores).all()):
            raise DataError("detections: a box or score is not finite; the model's weights or its export are broken")

    def __len__(self) -> int:
        return len(self.boxes)

    def above(self, thresholds: NDArray[np.float64]) -> "Detections":
        """Those that are reported: scores at or above the threshold (C,) of their class."""
        kept = self.scores >= thresholds[self.labels]
        return Detections(self.boxes[kept], self.scores[kept], self.labels[kept])

    @classmethod
    def empty(cls) -> "Detections":
        """No detection."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is truly in one frame, as arrays. M = number of boxes, ignore regions included."""

    boxes: NDArray[np.float32]  # (M, 4) pixel xyxy
    labels: NDArray[np.int64]  # (M,) index into the classes
    ignore: NDArray[np.bool_]  # (M,) neither hit nor miss
    attributes: tuple[Mapping[str, str], ...] = ()  # M of them
    tracks: tuple[str, ...] = ()  # M of them, "" where a box has none

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def of(cls, annotations: list[Annotation], classes: tuple[str, ...]) -> "Truth":
        """Arrays of one frame's annotations; labels outside `classes` are left out, ignore regions of any are kept.

        An ignore region without a class of its own (`ignore`) stands once for every class.
        """
        rows = [
            (a.xyxy, index, a.ignore, a.attributes, a.track_id)
            for a in annotations
            for index, name in enumerate(classes)
            if a.label == name or (a.ignore and a.label not in classes)
        ]
        return cls(
            np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
            np.array([r[1] for r in rows], np.int64),
            np.array([r[2] for r in rows], np.bool_),
            tuple(r[3] for r in rows),
            tuple(r[4] for r in rows),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The frames of one split, what is truly in each, and what the detector found there."""

    frames: tuple[Frame, ...]
    truths: tuple[Truth, ...]
    found: tuple[Detections, ...]
    classes: tuple[str, ...]
