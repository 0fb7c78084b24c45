"""Wilson's interval against the table of Newcombe (1998, Statistics in Medicine 17, table I, method 3).

The bootstrap against a simulation whose true mean is known.
"""

import numpy as np
import pytest

from pipeline.core.statistics import bootstrap_mean, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        pytest.param(81, 263, 0.2553, 0.3662, id="many"),
        pytest.param(15, 148, 0.0624, 0.1605, id="few"),
        pytest.param(0, 20, 0.0, 0.1611, id="none"),
        pytest.param(1, 29, 0.0061, 0.1718, id="one"),
    ],
)
def test_published_intervals(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_all_successes_reach_one() -> None:
    assert wilson(20, 20) == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)


FEW, SOME, MANY = 10, 20, 64  # clusters
SETS = 300  # simulated data sets of each size


def agreements(rng: np.random.Generator, clusters: int) -> list[float]:
    """F1 of tasks as annotators give it: seven in ten agree wholly, the others lie evenly on 0.3, 0.4 ... 0.9."""
    whole = rng.random(clusters) < 0.7
    return np.where(whole, 1.0, rng.integers(3, 10, clusters) / 10).tolist()  # type: ignore[no-any-return]


TRUE_MEAN = 0.7 * 1 + 0.3 * 0.6


@pytest.mark.parametrize(
    ("clusters", "least"),
    [
        # 300 draws at 0.95 have a standard deviation of 0.0126, so 0.912 is three of them below
        pytest.param(MANY, 0.912, id="many"),
        pytest.param(SOME, 0.9, id="some"),
        pytest.param(FEW, 0.85, id="few-promise-less"),
    ],
)
def test_the_bootstrap_covers_the_true_mean_as_often_as_it_says(clusters: int, least: float) -> None:
    rng = np.random.default_rng(1)
    intervals = [bootstrap_mean(agreements(rng, clusters)) for _ in range(SETS)]
    covered = sum(it is not None and it[0] <= TRUE_MEAN <= it[1] for it in intervals)
    assert least <= covered / SETS <= 0.95 + 3 * 0.0126


def test_the_bootstrap_of_even_values_is_nearly_students_interval() -> None:
    """Many values without skew: mean plus and minus 1.96 standard errors."""
    values = np.linspace(0, 1, 400)
    half = 1.96 * values.std(ddof=1) / 20
    assert bootstrap_mean(values.tolist()) == pytest.approx((0.5 - half, 0.5 + half), abs=0.002)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([], id="none"),
        pytest.param([0.1 * i for i in range(9)], id="nine"),
        pytest.param([1.0] * 40, id="all-agree"),
        pytest.param([0.1 * 3, 0.3] * 20, id="equal-but-for-rounding"),
    ],
)
def test_what_the_bootstrap_cannot_assess(values: list[float]) -> None:
    assert bootstrap_mean(values) is None


def test_the_same_values_give_the_same_interval() -> None:
    values = [0.05 * i for i in range(20)]
    assert bootstrap_mean(values) == bootstrap_mean(values)
