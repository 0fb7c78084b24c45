"""How sure a share, a rate or a mean is."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import beta, bootstrap, chi2

MIN_CLUSTERS = 10  # from fewer, no interval of a mean keeps what it promises
NORMAL = 1.959964  # its two-sided quantile at 95 %
TAIL = 0.025  # what an interval of 95 % leaves out on each side
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


def clopper_pearson(successes: int, trials: int) -> tuple[float, float]:
    """Exact 95 % interval of a share (Clopper and Pearson 1934): it never promises more than it keeps.

    Without a trial it is 0 to 1: nothing is known.

    >>> tuple(round(x, 4) for x in clopper_pearson(0, 20))
    (0.0, 0.1684)
    """
    fails = trials - successes
    low = float(beta.ppf(TAIL, successes, fails + 1)) if successes else 0.0
    high = float(beta.ppf(1 - TAIL, successes + 1, fails)) if fails else 1.0
    return low, high


def poisson_rate(count: int, exposure: float) -> tuple[float, float]:
    """Exact 95 % interval of a rate (Garwood 1936), for a count of what happens independently at a steady rate.

    Args:
        count: how often it happened.
        exposure: in how much time, or of whatever else; more than 0.

    >>> tuple(round(x, 3) for x in poisson_rate(0, 1.0))
    (0.0, 3.689)
    """
    low = float(chi2.ppf(TAIL, 2 * count)) / 2 if count else 0.0
    return low / exposure, float(chi2.ppf(1 - TAIL, 2 * count + 2)) / 2 / exposure


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
