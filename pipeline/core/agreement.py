"""Do annotators agree, and what do they say together? Matching, agreement and consensus of boxes.

Matching is optimal assignment (Kuhn, 1955: the Hungarian method) on IoU. Agreement is strict about labels: boxes match
only where they have one label. Consensus goes by place first, so that two names of one object do not make two objects.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pipeline.core.boxes import iou
from pipeline.core.types import Annotation, Origin

Version = Sequence[Annotation]  # all boxes that one annotator drew on one frame
Match = tuple[int, int, float]  # index in the one, index in the other, IoU
T = TypeVar("T", bound=Hashable)
SAME_LABEL = 1e-3  # of IoU: between boxes that lie alike, those of one label are a pair


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far annotators agree on one frame."""

    iou: float | None  # mean IoU of matched boxes, mean over pairs of annotators; None where no pair has a match
    f1: float  # F1 of matching, mean over pairs; 1 where both found nothing


@dataclass(frozen=True, slots=True)
class Consensus:
    """What annotators say together about one frame."""

    annotations: tuple[Annotation, ...]
    disputed: int = 0  # objects kept although somebody did not draw them, or named them differently
    outvoted: int = 0  # objects left out because fewer than half drew them


def match(a: Version, b: Version, min_iou: float) -> list[Match]:
    """Pairs (index in a, index in b, IoU) of one label with at least `min_iou`, with the greatest sum of IoU."""
    if not a or not b:
        return []
    overlap = iou(_corners(a), _corners(b))
    return _assigned(overlap, overlap, _alike(a, b) & (overlap >= min_iou))


def _match_places(a: Version, b: Version, min_iou: float) -> list[Match]:
    """As `match`, whatever the labels."""
    if not a or not b:
        return []
    overlap = iou(_corners(a), _corners(b))
    return _assigned(overlap, overlap + SAME_LABEL * _alike(a, b), overlap >= min_iou)


def _alike(a: Version, b: Version) -> NDArray[np.bool_]:
    """(len(a), len(b)): whether two boxes have one label."""
    return np.array([[_kind(x) == _kind(y) for y in b] for x in a])


def _assigned(overlap: NDArray[np.float64], gain: NDArray[np.float64], allowed: NDArray[np.bool_]) -> list[Match]:
    """The allowed pairs with the greatest sum of gains."""
    rows, columns = linear_sum_assignment(np.where(allowed, gain, 0.0), maximize=True)
    return [(int(i), int(j), float(overlap[i, j])) for i, j in zip(rows, columns, strict=True) if allowed[i, j]]


def agreement(versions: Sequence[Version], min_iou: float) -> Agreement | None:
    """Mean agreement over all pairs of annotators; None with fewer than two."""
    pairs = [(len(a) + len(b), match(a, b, min_iou)) for a, b in combinations(versions, 2)]
    if not pairs:
        return None
    overlaps = [float(np.mean([m[2] for m in matches])) for _, matches in pairs if matches]
    scores = [2 * len(matches) / total if total else 1.0 for total, matches in pairs]
    return Agreement(float(np.mean(overlaps)) if overlaps else None, float(np.mean(scores)))


def consensus(versions: Sequence[Version], min_iou: float) -> Consensus:
    """One set of boxes from all annotators.

    Annotator after annotator, boxes join the object whose mean box so far they match best, whatever its label, or start
    one. An object is kept if at least half of the annotators drew it: so of two annotators, what only one drew is kept,
    because a missed label costs more than an extra look. The box is the mean of the corners; label (with it, whether it
    is an ignore region), attributes, track and origin go by majority, ties to the earliest annotator. An object counts
    as disputed that somebody did not draw, or named differently. `agreement` is the mean IoU with the consensus over
    all annotators, 0 for one who did not draw it; None with one annotator.
    """
    if len(versions) == 1:
        return Consensus(tuple(versions[0]))
    objects: list[list[Annotation]] = []
    for version in versions:
        pairs = _match_places([_mean(members) for members in objects], version, min_iou)
        joined = {j: objects[i] for i, j, _ in pairs}
        for j, annotation in enumerate(version):
            if j in joined:
                joined[j].append(annotation)
            else:
                objects.append([annotation])
    kept = [members for members in objects if 2 * len(members) >= len(versions)]
    disputed = sum(len(members) < len(versions) or len(set(map(_kind, members))) > 1 for members in kept)
    return Consensus(tuple(_merged(m, len(versions)) for m in kept), disputed, len(objects) - len(kept))


def _kind(annotation: Annotation) -> tuple[str, bool]:
    return annotation.label, annotation.ignore


def _corners(version: Version) -> NDArray[np.float64]:
    return np.array([a.xyxy for a in version], np.float64).reshape(-1, 4)


def _mean(members: Version) -> Annotation:
    """The first member with the mean of all members' corners, which is the mean of their places and sides."""
    x, y, width, height = (
        round(sum(side) / len(members), 4)
        for side in zip(*((m.x, m.y, m.width, m.height) for m in members), strict=True)
    )
    return replace(members[0], x=x, y=y, width=width, height=height)


def _merged(members: Version, annotators: int) -> Annotation:
    mean = _mean(members)
    label, ignore = _majority([_kind(m) for m in members])
    overlaps = iou(_corners([mean]), _corners(members))[0]
    names = sorted({name for m in members for name in m.attributes})
    attributes = {name: _majority([m.attributes[name] for m in members if name in m.attributes]) for name in names}
    return replace(
        mean,
        label=label,
        ignore=ignore,
        attributes=attributes,
        track_id=_majority([m.track_id for m in members]),
        origin=Origin(_majority([m.origin for m in members])),
        annotators=tuple(dict.fromkeys(name for m in members for name in m.annotators)),
        agreement=float(overlaps.sum()) / annotators,
    )


def _majority(values: Sequence[T]) -> T:
    return Counter(values).most_common(1)[0][0]  # equal counts come in the order first met
