"""Objects through a clip as keyframes, and what they say about each of its frames.

Places are interpolated linearly between keyframes. The rules are Label Studio's: a keyframe that is not enabled still
shows the object, which is then hidden until the next keyframe; the last one, where enabled, holds to the clip's end;
nothing is seen before the first.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.core.errors import DataError
from pipeline.core.types import Frame
from pipeline.io.formats.record import Keyframe, Region, Task, Timeline, Track, listing, mapping, number, whole_number

MOST_FRAMES = 200_000  # of one clip: more than two hours at 25 frames per second
SLACK = 2  # frames by which two counts of a clip may differ by rounding
SIDES = ("x", "y", "width", "height")


def keyframes(value: Mapping[str, Any], where: str, left: Counter[str]) -> tuple[Keyframe, ...]:
    """Keyframes of a `videorectangle`, by index; a second one of the same frame is counted and left out.

    Raises:
        DataError: a keyframe is none, or lies beyond `MOST_FRAMES`; `where` names the task.
    """
    found: dict[int, Keyframe] = {}
    for item in listing(value.get("sequence"), f"{where}: sequence"):
        keyframe = _keyframe(mapping(item, f"{where}: keyframe"), where)
        if found.setdefault(keyframe.index, keyframe) is not keyframe:
            left["second keyframe of a frame"] += 1
    return tuple(found[index] for index in sorted(found))


def _keyframe(raw: Mapping[str, Any], where: str) -> Keyframe:
    frame = whole_number(raw.get("frame"))
    if frame is None:
        raise DataError(
            f"{where}: a keyframe has frame {raw.get('frame')!r:.40}; expected a whole number, export again"
        )
    _refuse_endless(frame, where)
    x, y, width, height = (number(raw.get(key), f"{where}: keyframe {frame}: {key}") / 100 for key in SIDES)
    rotation = number(raw.get("rotation") or 0, f"{where}: keyframe {frame}: rotation")
    return Keyframe(frame - 1, x, y, width, height, rotation, enabled=raw.get("enabled") is not False)


def _refuse_endless(frames: int, where: str) -> None:
    if frames > MOST_FRAMES:
        raise DataError(f"{where}: a timeline of {frames} frames, more than {MOST_FRAMES}; cut the clip into parts")


def timeline(values: Iterable[Mapping[str, Any]], where: str) -> Timeline:
    """The clip as its `videorectangle` values state it; the largest counts where they differ.

    Raises:
        DataError: it has more than `MOST_FRAMES` frames.
    """
    frames, seconds = 0, 0.0
    for value in values:
        frames = max(frames, whole_number(value.get("framesCount")) or 0)
        seconds = max(seconds, number(value.get("duration") or 0, f"{where}: duration"))
    _refuse_endless(frames, where)
    return Timeline(frames or None, seconds or None)


def still(task: Task, index: int) -> Task:
    """What a clip's task says about one of its frames; it is named after the frame's number in Label Studio, from 1."""
    versions = tuple(
        replace(version, regions=tuple(seen(version.tracks, index)), tracks=()) for version in task.versions
    )
    return Task(f"{task.id}#{index + 1}", versions=versions, clip=task.clip, frame_index=index)


def seen(tracks: Iterable[Track], index: int) -> list[Region]:
    """The regions of all tracks in one frame."""
    found = ((track.region, _at(track.keyframes, index)) for track in tracks)
    return [
        replace(region, x=at.x, y=at.y, width=at.width, height=at.height, **_turned(region, at.rotation))
        for region, at in found
        if at
    ]


def _turned(region: Region, degrees: float) -> dict[str, Any]:
    rotation = degrees % 360
    if not rotation:
        return {}
    return {"rotation": rotation, "attributes": {**region.attributes, "rotation": f"{rotation:g}"}}


def _at(points: Sequence[Keyframe], index: int) -> Keyframe | None:
    """The place in one frame; None where the object is not seen."""
    after = bisect_right(points, index, key=lambda point: point.index)
    if not after:
        return None
    before = points[after - 1]
    if before.index == index:
        return before
    if not before.enabled:
        return None
    return _between(before, points[after], index) if after < len(points) else before


def _between(a: Keyframe, b: Keyframe, index: int) -> Keyframe:
    share = (index - a.index) / (b.index - a.index)
    return Keyframe(
        index,
        a.x + (b.x - a.x) * share,
        a.y + (b.y - a.y) * share,
        a.width + (b.width - a.width) * share,
        a.height + (b.height - a.height) * share,
        a.rotation + (b.rotation - a.rotation) * share,
    )


def shifted_frames(line: Timeline, frames: Sequence[Frame]) -> int:
    """By how many frames a clip's numbering in Label Studio departs from ours at its end; 0 within rounding.

    Label Studio numbers frames by its `frameRate` setting, not by the file's: a wrong one shifts every box.

    Args:
        line: with the count and the seconds that Label Studio knows.
        frames: of the clip, as ingested, by index.
    """
    first, last = frames[0], frames[-1]
    if not line.frames or not line.duration_s or first.timestamp_s is None or last.timestamp_s is None:
        return 0
    theirs = (last.timestamp_s - first.timestamp_s) * line.frames / line.duration_s
    shift = round(theirs) - (last.index - first.index)
    return shift if abs(shift) > SLACK else 0
