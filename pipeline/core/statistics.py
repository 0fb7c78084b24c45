"""How sure a share is."""

from scipy.stats import binomtest


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % Wilson score interval of a share (Wilson 1927; without continuity correction).

    >>> tuple(round(x, 4) for x in wilson(81, 263))
    (0.2553, 0.3662)
    """
    interval = binomtest(successes, trials).proportion_ci(0.95, "wilson")
    return float(interval.low), float(interval.high)
