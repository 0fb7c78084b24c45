"""What every annotation format is read into, and written from: a task, its annotators' versions, their regions.

Coordinates are fractions of the upright picture, so a label made on a scaled copy still fits. Nothing here knows which
frames were ingested or which labels are wanted: the annotate stage decides that.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.core.errors import DataError
from pipeline.core.types import Origin

FARTHEST = 1e9  # a coordinate beyond is no coordinate; below, no sum or product of two overflows


@dataclass(frozen=True, slots=True)
class Region:
    """One box as its source states it: fractions of width and height, not yet checked against the frame.

    `rotation` is in degrees clockwise about (x, y), in pixels: what it does to fractions is a matter of the picture's
    shape. A side is negative where the box was drawn from right to left or upwards.
    """

    label: str
    x: float
    y: float
    width: float
    height: float
    ignore: bool = False
    track_id: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    origin: Origin = Origin.IMPORT
    rotation: float = 0.0


@dataclass(frozen=True, slots=True)
class Keyframe:
    """Where an object is in one frame of a clip, as somebody has set it; fractions and degrees as in `Region`."""

    index: int  # of the frame, from 0
    x: float
    y: float
    width: float
    height: float
    rotation: float = 0.0
    enabled: bool = True  # whether the object is seen after this frame; in this frame it is seen anyway


@dataclass(frozen=True, slots=True)
class Track:
    """One object through a clip."""

    region: Region  # all but its place
    keyframes: tuple[Keyframe, ...]  # by index, at least one


@dataclass(frozen=True, slots=True)
class Timeline:
    """The clip that a task shows as a whole."""

    frames: int | None = None  # how many were shown; None: as many as the clip has
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """All that one annotator says about a picture or a clip; nothing in it means that they found nothing."""

    regions: tuple[Region, ...] = ()
    annotator: str = ""
    ground_truth: bool = False  # it settles the matter, whatever others say
    tracks: tuple[Track, ...] = ()  # of a clip


@dataclass(frozen=True, slots=True)
class Task:
    """One picture, or one clip, that was given to annotators.

    `pictures` are paths or addresses as the source may mean them, best first; one that ends in `.*` fits any file type.
    A task without a version was looked at by nobody.
    """

    id: str
    pictures: tuple[str, ...] = ()
    versions: tuple[Version, ...] = ()
    size: tuple[int, int] | None = None  # width, height in pixels of the picture that was annotated
    camera: str = ""
    clip: str = ""
    frame_index: int | None = None  # in the clip, from 0
    left_out: Mapping[str, int] = field(default_factory=dict)  # what is no box, by kind
    mended: Mapping[str, int] = field(default_factory=dict)  # what was put right, by kind
    frame_id: str = ""  # where the source knows it
    timeline: Timeline | None = None  # set where the task is a clip


def text(value: object) -> str:
    """A word from outside as it can be written to a file: what is no Unicode becomes `?`."""
    return str(value).encode("utf-8", "replace").decode()


def number(value: object, where: str) -> float:
    """A finite float from outside.

    Raises:
        DataError: it is no number, not finite, or absurdly large; `where` names the task.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where}: expected a number, got {value!r:.40}; correct the box or delete it at its source")
    if not abs(value) <= FARTHEST:  # false for NaN as well
        raise DataError(f"{where}: {value!r:.40} is no coordinate; correct the box or delete it at its source")
    return float(value)


def parsed(text: str, where: str) -> float:
    """`number` from text. Raises DataError as there."""
    try:
        return number(float(text), where)
    except ValueError:
        raise DataError(f"{where}: expected a number, got {text!r:.40}; correct the file") from None


def whole_number(value: object) -> int | None:
    """A count or an index from 0 where the value is one, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < 2**31 and value == int(value) else None


def size_of(width: object, height: object) -> tuple[int, int] | None:
    """Width and height in pixels where both are sensible, else None."""
    w, h = whole_number(width), whole_number(height)
    return (w, h) if w and h else None


def picture_path(name: str, where: str) -> str:
    """A picture's path as POSIX, without a leading slash. It is only ever compared with the frames that were ingested.

    Raises:
        DataError: the path climbs out of its folder.
    """
    path = name.replace("\\", "/")
    if ".." in path.split("/") or "\0" in path:
        raise DataError(f"{where}: the picture's path {name!r} leaves its folder; give the path below the data root")
    return str(PurePosixPath(path.lstrip("/")))


def pixels(region: Region, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Left, top, width, height in pixels of the upright hull, rounded to 1e-4 so that fractions leave no dust."""
    x, y = region.x * size[0], region.y * size[1]
    width, height = region.width * size[0], region.height * size[1]
    if region.rotation or width < 0 or height < 0:
        left, top, right, bottom = _hull(width, height, region.rotation)
        x, y, width, height = x + left, y + top, right - left, bottom - top
    return round(x, 4), round(y, 4), round(width, 4), round(height, 4)


def _hull(width: float, height: float, degrees: float) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of what a box becomes that is turned clockwise about its corner at the origin."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    xs = (0.0, width * cos, -height * sin, width * cos - height * sin)
    ys = (0.0, width * sin, height * cos, width * sin + height * cos)
    return min(xs), min(ys), max(xs), max(ys)


def needed_size(task: Task) -> tuple[int, int]:
    """The task's picture size, for formats in pixels. Raises DataError where it is unknown."""
    if task.size is None:
        raise DataError(f"task {task.id} has no picture size; set width and height to write it in pixels")
    return task.size


def first_regions(task: Task) -> tuple[Region, ...]:
    """The regions of the version that counts where a format holds one alone: the ground truth, else the first."""
    settled = [version for version in task.versions if version.ground_truth] or list(task.versions)
    return settled[0].regions if settled else ()


def mapping(value: object, what: str) -> Mapping[str, Any]:
    """The value, which must be an object of the JSON. Raises DataError that names `what`."""
    if not isinstance(value, dict):
        raise DataError(f"{what}: expected an object, got {type(value).__name__}; export it again")
    return value


def listing(value: object, what: str) -> list[Any]:
    """The value, which must be a list; None stands for an empty one. Raises DataError that names `what`."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise DataError(f"{what}: expected a list, got {type(value).__name__}; export it again")
    return value


def files_below(path: Path, suffix: str) -> list[Path]:
    """The file itself, or all files with the suffix below the folder, in the order of their names.

    Raises:
        DataError: the path does not exist, or the folder holds no such file.
    """
    if path.is_file():
        return [path]
    found = sorted((p for p in path.rglob(f"*{suffix}") if p.is_file()), key=lambda p: p.relative_to(path).as_posix())
    if not found:
        problem = f"holds no {suffix} file" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {problem}; set data.labels.path to the annotations")
    return found
