"""Wilson's interval against the table of Newcombe (1998, Statistics in Medicine 17, table I, method 3).

The exact intervals against the same table, Garwood's, and scipy. The bootstrap and they against simulations whose truth
is known.
"""

import numpy as np
import pytest
from scipy.stats import binomtest, poisson

from pipeline.core.statistics import bootstrap_mean, clopper_pearson, poisson_rate, wilson


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


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # the same table, method 5
        pytest.param(81, 263, 0.2527, 0.3676, id="many"),
        pytest.param(15, 148, 0.0578, 0.1617, id="few"),
        pytest.param(0, 20, 0.0, 0.1684, id="none"),
        pytest.param(1, 29, 0.0009, 0.1776, id="one"),
    ],
)
def test_published_exact_intervals_of_a_share(successes: int, trials: int, low: float, high: float) -> None:
    assert clopper_pearson(successes, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("trials", [1, 2, 7, 50, 1000])
def test_exact_intervals_of_a_share_are_scipys(trials: int) -> None:
    for successes in sorted({0, 1, trials // 3, trials - 1, trials}):
        exact = binomtest(successes, trials).proportion_ci(0.95, "exact")
        assert clopper_pearson(successes, trials) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_of_no_trial_nothing_is_known() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        # confidence limits of a Poisson count at 95 %, as tabled since Garwood (1936, Biometrika 28) and in Pearson and
        # Hartley's Biometrika Tables for Statisticians, table 40
        pytest.param(0, 0.0, 3.69, id="0"),
        pytest.param(1, 0.0253, 5.57, id="1"),
        pytest.param(2, 0.242, 7.22, id="2"),
        pytest.param(3, 0.619, 8.77, id="3"),
        pytest.param(5, 1.62, 11.67, id="5"),
        pytest.param(10, 4.80, 18.39, id="10"),
        pytest.param(20, 12.22, 30.89, id="20"),
        pytest.param(50, 37.11, 65.92, id="50"),
    ],
)
def test_published_intervals_of_a_rate(count: int, low: float, high: float) -> None:
    assert poisson_rate(count, 1.0) == pytest.approx((low, high), abs=5.1e-3)
    assert poisson_rate(count, 8.0) == pytest.approx((low / 8, high / 8), abs=1e-3)


def test_ends_of_a_rate_leave_out_what_they_say() -> None:
    """By the Poisson distribution itself: at the low end so many or more are seen in 2.5 %, at the high end so few."""
    for count in (1, 4, 30):
        low, high = poisson_rate(count, 2.0)
        assert poisson.sf(count - 1, 2 * low) == pytest.approx(0.025)
        assert poisson.cdf(count, 2 * high) == pytest.approx(0.025)


@pytest.mark.parametrize("rate", [0.3, 2.0, 15.0])
def test_the_interval_of_a_rate_covers_the_truth_at_least_as_often_as_it_says(rate: float) -> None:
    counts = np.random.default_rng(4).poisson(rate, 4000)
    intervals = {int(count): poisson_rate(int(count), 1.0) for count in set(counts.tolist())}
    covered = np.mean([intervals[count][0] <= rate <= intervals[count][1] for count in counts.tolist()])
    assert 0.95 - 3 * 0.0035 <= covered < 1  # 4000 draws at 0.95 have a standard deviation of 0.0035


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_the_interval_of_a_share_covers_the_truth_at_least_as_often_as_it_says(share: float) -> None:
    found = np.random.default_rng(5).binomial(25, share, 4000)
    intervals = {int(count): clopper_pearson(int(count), 25) for count in set(found.tolist())}
    covered = np.mean([intervals[count][0] <= share <= intervals[count][1] for count in found.tolist()])
    assert 0.95 - 3 * 0.0035 <= covered < 1
