"""Leakage: did the same scene reach two splits? The check knows nothing of how the split was made.

Four questions are asked of all frames that are in a split (those left out in gaps are of no matter):

- content: the same bytes in two splits.
- look: perceptual hashes within a few bits in two splits. Frames of one fixed camera look alike by nature, because its
  background fills the picture, so frames with a time are compared with other cameras' only; within a clip the gap
  rules, and another clip of the same camera is another time. Pictures without a time are compared with everything:
  nothing else would tell a copy.
- group: one group in two splits.
- time: frames of one clip in two splits, nearer than the gap.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import LeakageError
from pipeline.core.hashes import bands
from pipeline.core.types import Assignment, Frame, Split

SHOWN = 10
ROUNDING_S = 1e-6  # timestamps are sums of floats
REMEDIES = {
    "content": "the same bytes are two frames: run dvc repro -f ingest, which keeps one of them",
    "look": (
        "choose a split.by that keeps copies together, let ingest drop them (ingest.near_duplicate_bits), give a fixed "
        "camera's pictures their timestamp_s in manifest.csv, or lower split.near_duplicate_bits"
    ),
    "group": "a group must be in one split: run dvc repro -f split",
    "time": "choose a split.by that keeps neighbours together (clip, camera, segment), or lower split.gap_s",
}


@dataclass(frozen=True, slots=True)
class Placed:
    """A frame in a split."""

    frame: Frame
    split: Split
    group: str

    def __str__(self) -> str:
        number = "" if self.frame.timestamp_s is None else f" frame {self.frame.index}"
        return f"{self.frame.source}{number} ({self.split})"


@dataclass(frozen=True, slots=True)
class Leak:
    """Two frames that should not be in different splits."""

    kind: str  # content, look, group, time
    first: Placed
    second: Placed

    def __str__(self) -> str:
        return f"same {self.kind}: {self.first} and {self.second}"


def check(frames: Mapping[str, Frame], assignments: Sequence[Assignment], bits: int, gap_s: float) -> None:
    """Raise LeakageError, naming the pairs and the way out, where the same scene reached two splits.

    Args:
        frames: by id, those of the assignments at least.
        assignments: of every frame.
        bits: perceptual hashes this close are one look.
        gap_s: seconds that must lie between frames of one clip in different splits.
    """
    found = leaks(frames, assignments, bits, gap_s)
    if found:
        lines = [f"  {leak}" for leak in found[:SHOWN]]
        more = [f"  ... and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        ways = [REMEDIES[kind] for kind in dict.fromkeys(leak.kind for leak in found)]
        raise LeakageError("\n".join(["split: the same scene is in two splits", *lines, *more, *ways]))


def leaks(frames: Mapping[str, Frame], assignments: Sequence[Assignment], bits: int, gap_s: float) -> list[Leak]:
    """All that leaks, a pair a content, look or group; arguments as of `check`."""
    placed = [Placed(frames[a.frame_id], a.split, a.group) for a in assignments if a.split is not Split.GAP]
    contents = [item.frame.sha256 or item.frame.frame_id for item in placed]
    return [
        *_shared("content", contents, placed),
        *_same_look(placed, bits),
        *_shared("group", [item.group for item in placed], placed),
        *_too_close(placed, gap_s),
    ]


def _shared(kind: str, keys: Sequence[str], placed: Sequence[Placed]) -> Iterator[Leak]:
    """Each key that is in two splits, once a split."""
    first: dict[str, Placed] = {}
    seen: set[tuple[str, Split]] = set()
    for key, item in zip(keys, placed, strict=True):
        earlier = first.setdefault(key, item)
        if earlier.split is not item.split and (key, item.split) not in seen:
            seen.add((key, item.split))
            yield Leak(kind, earlier, item)


def _same_look(placed: Sequence[Placed], bits: int) -> list[Leak]:
    """Pairs by perceptual hash. Frames of one hash, split and fixed camera are one entry, so n stays small."""
    entries: dict[tuple[int, Split, str], Placed] = {}
    for item in placed:
        if item.frame.phash:
            scene = "" if item.frame.timestamp_s is None else item.frame.camera
            entries.setdefault((int(item.frame.phash, 16), item.split, scene), item)
    items = list(entries.values())
    hashes = np.array([phash for phash, _, _ in entries], np.uint64)
    splits = np.array([split for _, split, _ in entries], np.str_)
    scenes = np.array([scene for _, _, scene in entries], np.str_)
    found: set[tuple[int, int]] = set()
    for first, second in near_pairs(hashes, bits):
        crossing = (splits[first] != splits[second]) & ((scenes[first] != scenes[second]) | (scenes[first] == ""))
        found.update(zip(first[crossing].tolist(), second[crossing].tolist(), strict=True))
    return [Leak("look", items[i], items[j]) for i, j in sorted(found)]


def _too_close(placed: Sequence[Placed], gap_s: float) -> Iterator[Leak]:
    """Neighbours in time, in one clip but two splits; if any two frames are too close, some neighbours are."""
    clips: dict[str, list[tuple[float, int, Placed]]] = {}
    for number, item in enumerate(placed):
        if item.frame.timestamp_s is not None:
            clips.setdefault(item.frame.clip, []).append((item.frame.timestamp_s, number, item))
    for timed in clips.values():
        for (before, _, first), (after, _, second) in pairwise(sorted(timed, key=lambda entry: entry[:2])):
            if first.split is not second.split and after - before < gap_s - ROUNDING_S:
                yield Leak("time", first, second)


def near_pairs(hashes: NDArray[np.uint64], bits: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Indices of hashes at most `bits` apart, in batches of (first, second), first < second; a pair may come again.

    Only hashes that share one of `hashes.bands` are compared.

    >>> [(a.tolist(), b.tolist()) for a, b in near_pairs(np.array([0b0111, 0b1000 << 60, 0b0101], np.uint64), 1)]
    [([0], [2])]
    """
    for band in bands(hashes, bits):
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order])) + 1
        for members in np.split(order, starts):
            for place, index in enumerate(members[:-1].tolist(), start=1):
                later = members[place:]
                close = later[np.bitwise_count(hashes[later] ^ hashes[index]) <= bits]
                if close.size:
                    yield np.full(len(close), index), close
