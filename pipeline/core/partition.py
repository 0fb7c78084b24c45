"""What may the model see, and what must it never see? Frames to splits, whole groups at a time.

Assignment has no memory and needs none: where a frame goes depends on its own group (and the seed and shares) alone, so
data that is added moves nothing that was there before. Groups are drawn by hash: SHA-256 of seed and group, as a number
in [0, 1); the lowest are the benchmark's, then the validation split's, the rest is for training.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import floor

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.core.errors import ConfigError
from pipeline.core.leakage import near_pairs
from pipeline.core.params import FractionsParams, SplitParams
from pipeline.core.types import Assignment, Frame, Split

Spans = Mapping[str, tuple[float, float]]  # clip -> seconds of its first and last frame


def spans(frames: Sequence[Frame]) -> dict[str, tuple[float, float]]:
    """From when to when each clip goes, over all its frames, quarantined and unlabelled ones too."""
    found: dict[str, tuple[float, float]] = {}
    for frame in frames:
        if (now := frame.timestamp_s) is not None:
            start, end = found.get(frame.clip, (now, now))
            found[frame.clip] = (min(start, now), max(end, now))
    return found


def partition(frames: Sequence[Frame], clips: Spans, p: SplitParams) -> list[Assignment]:
    """Assign every frame, in the order given.

    Args:
        frames: usable, labelled frames.
        clips: `spans` of everything ingested, so that new labels move no boundary.
        p: section `split`.

    Raises:
        ConfigError: `split.by` does not fit the frames.
    """
    return list(RULES.get(p.by, _by_attribute)(frames, clips, p))


def draw(seed: int, group: str) -> float:
    """The group's number in [0, 1)."""
    digest = hashlib.sha256(f"{seed}/{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_of(number: float, fractions: FractionsParams) -> Split:
    """The split of a group that drew this number.

    >>> shares = FractionsParams(train=0.6, val=0.15)
    >>> [str(split_of(number, shares)) for number in (0.0, 0.24, 0.26, 0.39, 0.41)]
    ['benchmark', 'benchmark', 'val', 'val', 'train']
    """
    benchmark = 1 - fractions.train - fractions.val
    if number < benchmark:
        return Split.BENCHMARK
    return Split.VAL if number < benchmark + fractions.val else Split.TRAIN


def _by_clip(frames: Sequence[Frame], _: Spans, p: SplitParams) -> Iterator[Assignment]:
    return _by_name(frames, [frame.clip for frame in frames], p)


def _by_camera(frames: Sequence[Frame], _: Spans, p: SplitParams) -> Iterator[Assignment]:
    return _by_name(frames, [frame.camera for frame in frames], p)


def _by_attribute(frames: Sequence[Frame], _: Spans, p: SplitParams) -> Iterator[Assignment]:
    """By a column of the manifest."""
    columns = sorted({name for frame in frames for name in frame.attributes})
    without = next((frame for frame in frames if not frame.attributes.get(p.by)), None)
    if without is not None:
        raise ConfigError(
            f"split.by: {without.source} has no value in a manifest column {p.by!r}; columns there are: "
            f"{', '.join(columns) or 'none'}; or use one of: {', '.join(RULES)}"
        )
    return _by_name(frames, [f"{p.by}={frame.attributes[p.by]}" for frame in frames], p)


def _by_name(frames: Sequence[Frame], groups: Sequence[str], p: SplitParams) -> Iterator[Assignment]:
    for frame, group in zip(frames, groups, strict=True):
        yield Assignment(frame.frame_id, split_of(draw(p.seed, group), p.fractions), group)


def _chronological(frames: Sequence[Frame], clips: Spans, p: SplitParams) -> Iterator[Assignment]:
    """Every clip's past is for training, its future for the benchmark.

    Half the gap is left out on each side of a boundary. A clip of a single moment has no future: it is for training.
    """
    for frame in frames:
        now = _time(frame, p.by)
        start, end = clips[frame.clip]
        cuts = [start + share * (end - start) for share in (p.fractions.train, p.fractions.train + p.fractions.val)]
        split = (Split.TRAIN, Split.VAL, Split.BENCHMARK)[sum(now >= cut for cut in cuts) if end > start else 0]
        if end > start and any(abs(now - cut) < p.gap_s / 2 for cut in cuts):
            split = Split.GAP
        yield Assignment(frame.frame_id, split, f"{frame.clip}/{split}")


def _by_segment(frames: Sequence[Frame], _: Spans, p: SplitParams) -> Iterator[Assignment]:
    """Segments of `segment_s` seconds of every clip; half the gap is left out beside a segment of another split."""
    if p.gap_s > p.segment_s:
        raise ConfigError(f"split.gap_s ({p.gap_s:g}) must not be above split.segment_s ({p.segment_s:g})")
    for frame in frames:
        now = _time(frame, p.by)
        own = floor(now / p.segment_s)
        near = (floor((now + shift) / p.segment_s) for shift in (-p.gap_s / 2, p.gap_s / 2))
        splits = {split_of(draw(p.seed, f"{frame.clip}/{number}"), p.fractions) for number in (own, *near)}
        yield Assignment(frame.frame_id, splits.pop() if len(splits) == 1 else Split.GAP, f"{frame.clip}/{own}")


def _by_image(frames: Sequence[Frame], _: Spans, p: SplitParams) -> Iterator[Assignment]:
    """Single pictures; those that look alike, directly or through others, go together.

    A group takes the lowest number that any of its pictures drew, and is named after that picture. A copy that comes
    later can only lower it: the group may move from training towards the benchmark, never back.
    """
    timed = next((frame for frame in frames if frame.timestamp_s is not None), None)
    if timed is not None:
        raise ConfigError(
            f"split.by: image is for single pictures, and {timed.source} has frames at times; neighbours would be in "
            "two splits; use chronological, segment, clip or camera"
        )
    numbers = [draw(p.seed, frame.frame_id) for frame in frames]
    looks = _looks(frames, p.near_duplicate_bits)
    lowest: dict[int, int] = {}
    for index in sorted(range(len(frames)), key=lambda i: (numbers[i], frames[i].frame_id)):
        lowest.setdefault(looks[index], index)
    for frame, look in zip(frames, looks, strict=True):
        chosen = lowest[look]
        yield Assignment(frame.frame_id, split_of(numbers[chosen], p.fractions), frames[chosen].frame_id)


def _looks(frames: Sequence[Frame], bits: int) -> list[int]:
    """A number a picture, equal for those that look alike; a picture without a perceptual hash is like no other."""
    hashes = {frame.phash: number for number, frame in enumerate(frames) if frame.phash}  # one node a look
    nodes = np.array(list(hashes.values()), np.int64)
    values = np.array([int(phash, 16) for phash in hashes], np.uint64)
    pairs = [np.zeros((2, 0), np.int64), *(nodes[np.stack(pair)] for pair in near_pairs(values, bits))]
    first, second = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(frames), len(frames)))
    _, labels = connected_components(graph, directed=False)
    return [int(labels[hashes.get(frame.phash, number)]) for number, frame in enumerate(frames)]


def _time(frame: Frame, by: str) -> float:
    if frame.timestamp_s is None:
        raise ConfigError(
            f"split.by: {by} needs times, and {frame.source} has none; use clip, camera, image or a manifest column, "
            "or give timestamp_s in manifest.csv"
        )
    return frame.timestamp_s


RULES: dict[str, Callable[[Sequence[Frame], Spans, SplitParams], Iterator[Assignment]]] = {
    "chronological": _chronological,
    "segment": _by_segment,
    "clip": _by_clip,
    "camera": _by_camera,
    "image": _by_image,
}
