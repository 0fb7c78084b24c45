"""Sums and curves of resamples against resamples made by hand; intervals against simulations whose truth is known."""

import numpy as np
import pytest
from scipy.stats import t as student

from benchmarks import groups as simulation
from pipeline.core import bootstrap
from pipeline.core.metrics import coco_precision
from pipeline.core.types import Frame


def test_a_resample_draws_as_many_clusters_as_there_are_and_the_same_again() -> None:
    drawn = bootstrap.resampling("image", ["a", "b", "a", "c"], 300, 7)
    assert drawn.of_frame.tolist() == [0, 1, 0, 2]
    assert drawn.counts.shape == (3, 300)
    assert (drawn.counts.sum(axis=0) == 3).all()
    assert (drawn.counts == bootstrap.resampling("image", ["a", "b", "a", "c"], 300, 7).counts).all()
    assert (drawn.counts != bootstrap.resampling("image", ["a", "b", "a", "c"], 300, 8).counts).any()


def test_totals_add_up_what_each_resample_drew() -> None:
    drawn = bootstrap.resampling("image", range(5), 250, 0)
    values = np.array([[1.0, 0], [2, 0], [4, 0], [0, 8], [0, 0]])
    expected = [[(drawn.counts[:, r] * values[:, s]).sum() for r in range(250)] for s in range(2)]
    assert drawn.totals(values).tolist() == expected


def test_sums_count_rows_or_add_values_by_cluster() -> None:
    drawn = bootstrap.resampling("image", ["a", "b", "a"], 200, 0)
    frame = np.array([0, 1, 2, 2])
    assert drawn.sums(frame).tolist() == [3, 1]
    assert drawn.sums(frame, np.array([0.5, 1, 0.25, 0.25])).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("clips", "times", "units", "clusters"),
    [
        pytest.param(12, [0.0], ["camera x clip", "time block"], [12, 12], id="many-clips"),
        pytest.param(2, [0.0, 4.9, 5.0, 31.0], ["time block"], [6], id="few-clips-are-cut"),
        pytest.param(2, [None, None, None], ["image"], [6], id="images"),
    ],
)
def test_clusters_are_clips_or_else_blocks_or_images(
    clips: int, times: list[float | None], units: list[str], clusters: list[int]
) -> None:
    frames = [
        Frame(f"{i}-{k}", "hall", f"clip {i}", k, time, 10, 10, "x")
        for i in range(clips)
        for k, time in enumerate(times)
    ]
    drawn = bootstrap.levels(frames, 5.0, 200, 0)
    assert [it.unit for it in drawn] == units
    assert [len(it.counts) for it in drawn] == clusters


def curve(hits: int, seed: int) -> tuple[bootstrap.Indices, bootstrap.Mask, bootstrap.Floats]:
    """Detections of 60 frames, best first, seven in ten of them hits; objects by frame."""
    rng = np.random.default_rng(seed)
    hit = rng.permutation(np.arange(round(hits / 0.7)) < hits)
    frame = rng.integers(0, 60, len(hit))
    return frame, hit, (np.bincount(frame[hit], minlength=60) + rng.integers(0, 2, 60)).astype(np.float64)


def by_hand(
    drawn: bootstrap.Resampling, frame: bootstrap.Indices, hit: bootstrap.Mask, n: bootstrap.Floats
) -> list[float]:
    """Each resample as a benchmark of its own, its frames as often as they were drawn."""
    result = []
    for counts in drawn.counts.T.astype(np.int64):
        rows = np.repeat(np.arange(len(frame)), counts[frame])
        result.append(coco_precision(-rows.astype(np.float64), hit[rows], int((counts * n).sum())).mean())
    return result


def test_average_precisions_are_those_of_benchmarks_drawn_by_hand() -> None:
    frame, hit, objects = curve(100, 1)
    drawn = bootstrap.resampling("image", range(60), 200, 0)
    expected = by_hand(drawn, frame, hit, objects)  # COCO's recall points, and float32, are not exact in binary
    assert bootstrap.average_precisions(drawn, frame, hit, objects) == pytest.approx(expected, abs=5e-4)


def test_average_precisions_of_many_hits_keep_their_spread() -> None:
    frame, hit, objects = curve(2000, 2)
    drawn = bootstrap.resampling("image", range(60), 200, 0)
    expected = np.array(by_hand(drawn, frame, hit, objects))
    found = bootstrap.average_precisions(drawn, frame, hit, objects)
    assert found == pytest.approx(expected, abs=0.01)
    assert found.std() == pytest.approx(expected.std(), rel=0.02)


def test_a_resample_without_an_object_has_no_average_precision() -> None:
    drawn = bootstrap.resampling("image", range(3), 200, 0)
    found = bootstrap.average_precisions(drawn, np.array([0, 1]), np.array([True, False]), np.array([1.0, 0, 0]))
    assert np.isnan(found).sum() == (drawn.counts[0] == 0).sum() > 0


def test_without_a_hit_average_precision_is_zero() -> None:
    drawn = bootstrap.resampling("image", range(3), 200, 0)
    found = bootstrap.average_precisions(drawn, np.array([0, 1]), np.zeros(2, np.bool_), np.ones(3))
    assert (found == 0).all()


def test_the_spread_of_a_mean_is_its_standard_error() -> None:
    """Of n equal clusters, s / sqrt(n), with s's n - 1; 20,000 resamples know it to a percent."""
    values = np.array([3.0, 5, 4, 9, 1, 2, 6, 6, 7, 5, 3, 8])
    drawn = bootstrap.resampling("image", range(12), 20_000, 0)
    replicates = drawn.totals(values[:, None])[0] / 12
    assert bootstrap.spread(replicates, 12) == pytest.approx(values.std(ddof=1) / np.sqrt(12), rel=0.02)


def test_a_figure_that_is_mostly_undefined_has_no_spread() -> None:
    assert bootstrap.spread(np.array([np.nan, np.nan, 0.5]), 10) is None


def test_students_quantile() -> None:
    assert bootstrap.quantile(13) == pytest.approx(student.ppf(0.975, 12))
    assert bootstrap.quantile(13, 0.01) == pytest.approx(student.ppf(0.995, 12))


def test_an_interval_on_the_log_odds() -> None:
    """0.9 and an error of 0.03: log-odds 2.1972, error 0.03 / 0.09, Student's 2.0930 of 19 degrees."""
    half = 2.0930 * 0.03 / 0.09
    expected = [1 / (1 + np.exp(-(2.1972 + sign * half))) for sign in (-1, 1)]
    assert bootstrap.interval(0.9, 0.03, 20, 100) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("found", "sizes", "expected"),
    [
        # Donner 1986: MSB = 16 * (0.25 + 0.25) / 1 ... by hand for two clusters of four, all or nothing
        pytest.param([4, 0], [4, 4], 1.0, id="all-or-nothing"),
        pytest.param([2, 2], [4, 4], 0.0, id="alike"),
        # 10 of 10 and 5 of 10: MSB = 10 * 2 * 0.0625 = 1.25, MSW = 2.5 / 18 = 0.13889, m = 10: 1.11111 / 2.5
        pytest.param([10, 5], [10, 10], 0.444444, id="between"),
        pytest.param([1, 0, 1], [1, 1, 1], 0.0, id="one-object-each"),
    ],
)
def test_the_correlation_within_clusters(found: list[int], sizes: list[int], expected: float) -> None:
    assert bootstrap.correlation(np.array(found, float), np.array(sizes, float)) == pytest.approx(expected, abs=1e-6)


REPEATS = 200  # benchmarks/groups.py runs 1,000 of each


def test_intervals_hold_what_they_promise_over_correlated_clips() -> None:
    """Four kinds of benchmark, 800 in all: the standard error of a coverage of 0.95 is 0.008."""
    covered = [simulation.coverage(scene, REPEATS) for scene in simulation.COVERED]
    assert 0.93 <= float(np.mean(covered)) <= 0.97, covered
    assert min(covered) >= 0.95 - 3 * 0.0154  # of 200


def test_boxes_taken_for_independent_do_not() -> None:
    assert simulation.coverage(simulation.COVERED[2], REPEATS // 2, naive=True) < 0.8
