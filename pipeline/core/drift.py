"""Has what the model says changed, while the camera is sound? Two periods compared, with a test that knows time.

Neighbouring frames repeat each other, so a period is cut into blocks of time, and whole blocks change places between
the periods: a permutation test on blocks is exact where blocks are exchangeable (Good 2005, Permutation, Parametric,
and Bootstrap Tests of Hypotheses, chapter 3). It tests the effect size itself: Cliff's delta (Cliff 1993, Psychological
Bulletin 114) for figures, the standardised distance of the means (Cohen 1988) for embeddings. A change counts as drift
where it is neither chance, by Holm's correction over all figures (Holm 1979), nor negligible, by a floor: from 0.33 a
delta is "medium" (Romano et al. 2006), from 0.5 a standardised distance is (Cohen).

What a faulty camera shows says nothing about the model: leave its periods out first (`Series.without`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from pipeline.core.boxes import area
from pipeline.core.errors import DataError
from pipeline.core.types import Detections

Floats = NDArray[np.float64]

BATCH = 500  # permutations drawn at a time
BINS = 12  # a block of the shortest length is cut into so many, to see how long a figure remembers itself
FORGOTTEN = 0.1  # autocorrelation at which it has
MEMORIES = 4  # a block lasts so many times as long


class Change(StrEnum):
    """What a comparison came to."""

    DRIFT = "drift"
    NONE = "no drift"
    NOT_ASSESSABLE = "not assessable"


@dataclass(frozen=True, slots=True)
class DriftParams:
    """How two periods are compared."""

    block_s: float = 60.0  # seconds of a block at least; longer where a figure remembers itself for long
    min_blocks: int = 6  # in each period: of fewer there are too few permutations
    alpha: float = 0.05  # false alarms over all figures together
    delta: float = 0.33  # floor of Cliff's delta
    distance: float = 0.5  # floor of the standardised distance of embeddings
    permutations: int = 1999
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One figure over a period. N = number of frames or tracks."""

    seconds: Floats  # (N,) when each was measured
    values: Floats  # (N,), or (N, D) of an embedding

    def without(self, spans: Sequence[tuple[float, float | None]]) -> "Series":
        """What was measured outside of spans of time, as those of a camera's faults; None for no end."""
        out = np.ones(len(self.seconds), np.bool_)
        for start, end in spans:
            out &= (self.seconds < start) | (self.seconds > (np.inf if end is None else end))
        return Series(self.seconds[out], self.values[out])


@dataclass(frozen=True, slots=True)
class Shift:
    """How one figure has changed."""

    figure: str
    result: Change
    effect: float | None  # Cliff's delta, positive where the figure rose, or the distance of embeddings
    p: float | None  # after Holm's correction
    blocks: tuple[int, int]  # before and after
    block_s: float  # seconds of one
    reason: str


@dataclass(frozen=True, slots=True)
class Drift:
    """The comparison of two periods."""

    result: Change
    reason: str
    shifts: tuple[Shift, ...]


def frame_series(frames: Sequence[tuple[float, Detections]], size: tuple[int, int]) -> dict[str, Series]:
    """Confidence and box size of every detection, and the count a frame.

    Args:
        frames: seconds and detections of each, those above the operating threshold.
        size: width and height of the picture, pixels; a box's size is the root of its share of the picture.
    """
    seconds = np.array([at for at, _ in frames], np.float64)
    counts = np.array([len(found.scores) for _, found in frames], np.float64)
    each = np.repeat(seconds, counts.astype(np.int64))
    scores = np.concatenate([np.zeros(0), *(found.scores for _, found in frames)])
    areas = np.concatenate([np.zeros(0), *(area(found.boxes) for _, found in frames)])
    sizes = np.sqrt(areas / (size[0] * size[1]))
    return {"confidence": Series(each, scores), "box size": Series(each, sizes), "count": Series(seconds, counts)}


def drift(before: Mapping[str, Series], after: Mapping[str, Series], p: DriftParams = DriftParams()) -> Drift:
    """Compare two periods figure by figure.

    Args:
        before: each figure in a period when all was well.
        after: the same figures in the period in question.
        p: blocks, floors and alpha.

    Raises:
        DataError: the periods have not the same figures, or embeddings differ in length.
    """
    if before.keys() != after.keys():
        raise DataError(f"drift: the periods must have the same figures, got {sorted(before)} and {sorted(after)}")
    tests = {name: _tested(name, before[name], after[name], p) for name in before}
    known = {name: it for name, it in tests.items() if it.p is not None}
    corrected = _holm([it.p or 0.0 for it in known.values()])
    adjusted = dict(zip(known, corrected, strict=True))
    shifts = tuple(_shift(name, it, adjusted.get(name), p) for name, it in tests.items())
    return _concluded(shifts)


@dataclass(frozen=True, slots=True)
class _Test:
    """Of one figure, before the correction."""

    effect: float | None
    p: float | None
    blocks: tuple[int, int]
    block_s: float
    embedding: bool


def _tested(name: str, before: Series, after: Series, p: DriftParams) -> _Test:
    if before.values.shape[1:] != after.values.shape[1:]:
        raise DataError(f"drift: {name} has values of {before.values.shape[1:]} before, {after.values.shape[1:]} after")
    block_s = max(p.block_s, MEMORIES * _memory((before, after), p.block_s / BINS))
    first, second = (np.unique(_bins(it, block_s), return_inverse=True) for it in (before, after))
    blocks = len(first[0]), len(second[0])
    values = np.concatenate([before.values, after.values])
    statistic = _Distance if values.ndim == 2 else _Delta
    if min(blocks) < p.min_blocks:
        return _Test(None, None, blocks, block_s, values.ndim == 2)
    block = np.concatenate([first[1], second[1] + blocks[0]])
    effect, share = _permuted(statistic(values, block), blocks, p)
    return _Test(effect, share, blocks, block_s, values.ndim == 2)


def _bins(series: Series, length_s: float) -> NDArray[np.int64]:
    """The span of time (N,) that each value falls into, from 0."""
    start = series.seconds.min(initial=np.inf)
    return np.asarray(np.floor((series.seconds - start) / length_s), np.int64)


def _memory(periods: tuple[Series, Series], bin_s: float) -> float:
    """Seconds after which a figure has forgotten itself: when the autocorrelation of its means over bins is small."""
    parts = [_centred(it, bin_s) for it in periods if len(it.seconds)]
    longest = max((len(known) for _, known in parts), default=0)
    for lag in range(1, longest // 2):
        if _covariance(parts, lag) < FORGOTTEN * _covariance(parts, 0):
            return lag * bin_s
    return longest / 2 * bin_s


def _centred(series: Series, bin_s: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Means over bins (B, D), less their mean, and which bins (B,) hold anything."""
    bins = _bins(series, bin_s)
    count = np.bincount(bins)
    sums = np.zeros((len(count), series.values.reshape(len(bins), -1).shape[1]))
    np.add.at(sums, bins, series.values.reshape(len(bins), -1))
    known = count > 0
    sums[known] /= count[known, None]
    sums[known] -= sums[known].mean(axis=0)
    return sums, known


def _covariance(parts: Sequence[tuple[Floats, NDArray[np.bool_]]], lag: int) -> float:
    """Mean product of bins so far apart; empty bins count for nothing."""
    pairs = sum(int((known[lag:] & known[: len(known) - lag]).sum()) for _, known in parts)
    return sum(float((means[lag:] * means[: len(means) - lag]).sum()) for means, _ in parts) / max(pairs, 1)


def _permuted(statistic: "_Delta | _Distance", blocks: tuple[int, int], p: DriftParams) -> tuple[float, float]:
    """The effect, and how often chance gives one as large."""
    total = sum(blocks)
    own = np.zeros((1, total), np.bool_)
    own[0, blocks[0] :] = True
    effect = float(statistic.of(own)[0])
    rng = np.random.default_rng(p.seed)
    drawn: list[Floats] = []
    for start in range(0, p.permutations, BATCH):
        keys = rng.random((min(BATCH, p.permutations - start), total))
        drawn.append(statistic.of(keys.argsort(axis=1).argsort(axis=1) >= blocks[0]))
    chance = np.abs(np.concatenate(drawn))
    # the periods as they are count as one of the permutations (Phipson and Smyth 2010)
    share = (1 + int((chance >= abs(effect) - 1e-12).sum())) / (1 + p.permutations)
    if isinstance(statistic, _Distance):  # a distance is never negative: what chance gives is taken off
        effect = float(np.sqrt(max(effect**2 - float((chance**2).mean()), 0.0)))
    return effect, share


class _Delta:
    """Cliff's delta of the second period against the first, from sums of ranks by block."""

    def __init__(self, values: Floats, block: NDArray[np.int64]) -> None:
        self._count = np.bincount(block).astype(np.float64)
        self._ranks = np.bincount(block, rankdata(values))

    def of(self, second: NDArray[np.bool_]) -> Floats:
        """(P,) for choices (P, blocks) of the second period's blocks."""
        n = second @ self._count
        wins = second @ self._ranks - n * (n + 1) / 2
        return np.asarray(2 * wins / (n * (self._count.sum() - n)) - 1, np.float64)


class _Distance:
    """Distance of the periods' mean embeddings, in standard deviations of all."""

    def __init__(self, values: Floats, block: NDArray[np.int64]) -> None:
        self._count = np.bincount(block).astype(np.float64)
        self._sums = np.zeros((len(self._count), values.shape[1]))
        np.add.at(self._sums, block, values - values.mean(axis=0))
        self._deviation = max(float(np.sqrt(values.var(axis=0).sum())), 1e-12)

    def of(self, second: NDArray[np.bool_]) -> Floats:
        """As `_Delta.of`."""
        n, total = second @ self._count, second @ self._sums
        apart = total / n[:, None] - (self._sums.sum(axis=0) - total) / (self._count.sum() - n)[:, None]
        return np.asarray(np.linalg.norm(apart, axis=1) / self._deviation, np.float64)


def _holm(values: Sequence[float]) -> list[float]:
    """P values after Holm's correction, in the order given.

    >>> _holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(values, kind="stable")
    scaled = [(len(values) - i) * values[k] for i, k in enumerate(order)]
    corrected = np.minimum(np.maximum.accumulate(scaled), 1.0) if scaled else np.zeros(0)
    result = np.zeros(len(values))
    result[order] = corrected
    return [float(value) for value in result]


def _shift(name: str, it: _Test, p_value: float | None, p: DriftParams) -> Shift:
    result, reason = _judged(it, p_value, p)
    return Shift(name, result, it.effect, p_value, it.blocks, it.block_s, reason)


def _judged(it: _Test, p_value: float | None, p: DriftParams) -> tuple[Change, str]:
    if it.effect is None or p_value is None:
        few = (
            f"{it.blocks[0]} and {it.blocks[1]} blocks of {it.block_s:.0f} s; {p.min_blocks} are needed in each period"
        )
        return Change.NOT_ASSESSABLE, few
    floor, measure = (p.distance, "distance") if it.embedding else (p.delta, "Cliff's delta")
    figures = f"{measure} {it.effect:.2f}, p {p_value:.2g}"
    if p_value > p.alpha:
        return Change.NONE, f"may be chance: {figures}"
    if abs(it.effect) < floor:
        return Change.NONE, f"not chance, but small: {figures}, and less than {floor:g} does not count"
    way = "changed" if it.embedding else ("risen" if it.effect > 0 else "fallen")
    return Change.DRIFT, f"has {way}: {figures}"


def _concluded(shifts: tuple[Shift, ...]) -> Drift:
    told = {result: "; ".join(f"{it.figure} {it.reason}" for it in shifts if it.result == result) for result in Change}
    unknown = f"not assessed: {told[Change.NOT_ASSESSABLE]}" if told[Change.NOT_ASSESSABLE] else ""
    if told[Change.DRIFT]:
        return Drift(Change.DRIFT, "; ".join(filter(None, (told[Change.DRIFT], unknown))), shifts)
    if told[Change.NONE]:
        steady = "no figure has changed by more than chance and the floor allow"
        return Drift(Change.NONE, "; ".join(filter(None, (steady, unknown))), shifts)
    return Drift(Change.NOT_ASSESSABLE, unknown or "no figure was given", shifts)
