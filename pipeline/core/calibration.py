"""Does a score say how good a detection is, and if not, how is it to be read?

After Kuzucu, Oksuz, Sadeghi and Dokania, "On calibration of object detectors" (ECCV 2024, arXiv 2405.20459): a score is
to be the IoU that the detection can be expected to have with an object of its class, 0 for a false alarm. The error is
the localisation-aware expected calibration error (LaECE), of detections at the operating point, in 25 bins.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from pipeline.core.matching import Floats, Indices, Mask, Overlaps, match_overlaps

BINS = 25  # of the paper
MOST_KNOTS = 32  # what a contract carries a class

Knots = tuple[tuple[float, float], ...]  # score and what it means, both rising; between them in a straight line


@dataclass(frozen=True, slots=True, eq=False)
class Graded:
    """Detections outside ignore regions, and what their scores should have been. N = number of them."""

    label: Indices  # (N,)
    score: NDArray[np.float32]  # (N,)
    gain: Floats  # (N,) IoU with the object that it found, 0 for a false alarm
    kept: Mask  # (D,) which of all detections they are


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """What scores mean, bin by bin. B = number of bins that hold a detection."""

    score: Floats  # (B,) mean
    gain: Floats  # (B,) mean
    count: Indices  # (B,)


def grade(near: Overlaps, least_iou: float, ignore_from: float) -> Graded:
    """What every detection outside ignore regions is worth.

    Args:
        near: what overlaps.
        least_iou: of a hit; 0 for LaECE0, where any overlap with an object of the class counts.
        ignore_from: a detection that found nothing is left out where this share of it lies in an ignore region.
    """
    matched = match_overlaps(near, least_iou)
    kept = (matched.object >= 0) | (near.covered < ignore_from)
    return Graded(near.label[kept], near.score[kept], matched.iou[kept], kept)


def laece(scores: NDArray[np.floating], gains: Floats, bins: int = BINS) -> float:
    """Mean distance of what scores say from what they should, over bins of the score, weighted by their detections.

    Args:
        scores: (N,) of one class, N at least 1.
        gains: (N,) what the scores should have been.
        bins: of equal width; an upper edge belongs to its bin.

    >>> laece(np.array([0.9, 0.9, 0.3]), np.array([0.8, 0.0, 0.3])) == (2 * 0.5 + 0) / 3
    True
    """
    held = reliability(scores, gains, bins)
    return float(np.average(np.abs(held.score - held.gain), weights=held.count))


def reliability(scores: NDArray[np.floating], gains: Floats, bins: int = BINS) -> Reliability:
    """Mean score and mean gain of each bin, see `laece`."""
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], scores.astype(np.float64), side="left")
    count = np.bincount(place, minlength=bins)
    held = count > 0
    means = [np.bincount(place, values, bins)[held] / count[held] for values in (scores, gains)]
    return Reliability(means[0], means[1], count[held])


def fit(scores: NDArray[np.floating], gains: Floats) -> Knots:
    """Isotonic regression of gains on scores, as at most `MOST_KNOTS` points.

    The steps become points at their mean score, joined by straight lines (centred isotonic regression, Oron and
    Flournoy 2017): different scores keep different meanings. Of too many steps, those that differ least are joined.

    Args:
        scores: (N,) of one class, N at least 1.
        gains: (N,) what the scores should have been, 0..1.
    """
    values, place, weight = np.unique(scores.astype(np.float64), return_inverse=True, return_counts=True)
    steps = isotonic_regression(np.bincount(place, gains) / weight, weights=weight)
    held = np.add.reduceat(weight, steps.blocks[:-1]).astype(np.float64)
    at = np.add.reduceat(values * weight, steps.blocks[:-1]) / held
    meaning = steps.x[steps.blocks[:-1]]
    while len(held) > MOST_KNOTS:
        lost = held[:-1] * held[1:] / (held[:-1] + held[1:]) * np.diff(meaning) ** 2  # squares within, as Ward's
        at, meaning, held = _joined(at, meaning, held, int(np.argmin(lost)))
    rounded = np.clip(np.round(meaning, 6), 0, 1)
    return tuple((float(x), float(y)) for x, y in zip(at, rounded, strict=True))


def _joined(at: Floats, meaning: Floats, held: Floats, i: int) -> tuple[Floats, Floats, Floats]:
    """Step `i` and the next as one."""
    both = slice(i, i + 2)
    point = [np.average(values[both], weights=held[both]) for values in (at, meaning)]
    new = (*point, held[both].sum())
    at, meaning, held = (
        np.concatenate([v[:i], [x], v[i + 2 :]]) for v, x in zip((at, meaning, held), new, strict=True)
    )
    return at, meaning, held
