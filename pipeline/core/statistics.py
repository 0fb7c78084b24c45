"""How sure a share or a mean is."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import bootstrap

MIN_CLUSTERS = 10  # from fewer, no interval of a mean keeps what it promises
NORMAL = 1.959964  # its two-sided quantile at 95 %
RESAMPLES = 9999
BATCH = 100  # resamples drawn at a time: what they take in memory


def wilson(successes: float, trials: float, quantile: float = NORMAL) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson 1927; without continuity correction), 95 % unless a quantile is given.

    Effective numbers, which need not be whole, give the interval of a share in clusters.

    >>> tuple(round(x, 4) for x in wilson(81, 263))
    (0.2553, 0.3662)
    """
    square = quantile * quantile
    middle = (successes + square / 2) / (trials + square)
    half = quantile / (trials + square) * math.sqrt(successes * (1 - successes / trials) + square / 4)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def bootstrap_mean(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean by the BCa bootstrap (Efron 1987): bias-corrected and accelerated, for skewed values.

    Each value must be of a cluster of its own: what belongs together, as the boxes of one task, is to be one value. The
    same values give the same interval. None is "not assessable": fewer than `MIN_CLUSTERS` values, or all alike, of
    which resampling can learn nothing.

    >>> bootstrap_mean([0.9] * 50) is None
    True
    """
    if len(values) < MIN_CLUSTERS or np.ptp(values) < 1e-9:
        return None
    result = bootstrap((values,), np.mean, n_resamples=RESAMPLES, batch=BATCH, method="BCa", rng=0)
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
