import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import mannwhitneyu

from pipeline.core.drift import Change, DriftParams, Series, drift, frame_series
from pipeline.core.errors import DataError
from pipeline.core.types import Detections

Rng = np.random.Generator


def smooth(rng: Rng, minutes: int, shift: float = 0.0, memory: float = 0.9) -> Series:
    """A value a second that remembers the one before (AR(1)), of deviation 1."""
    steps = np.sqrt(1 - memory**2) * rng.standard_normal(60 * minutes + 500)
    values = np.asarray(lfilter([1.0], [1.0, -memory], steps), np.float64)[500:]
    return Series(np.arange(len(values), dtype=np.float64), values + shift)


def one(before: Series, after: Series, **changes: float) -> tuple[Change, float | None, float | None]:
    p = DriftParams(permutations=199, **changes)  # type: ignore[arg-type]  # ints and floats by name
    (shift,) = drift({"confidence": before}, {"confidence": after}, p).shifts
    return shift.result, shift.effect, shift.p


@pytest.mark.parametrize("memory", [0.0, 0.9, 0.97])
def test_false_alarms_without_drift_are_about_alpha_where_a_test_of_frames_fails(memory: float) -> None:
    rng = np.random.default_rng(1)
    pairs = [(smooth(rng, 30, memory=memory), smooth(rng, 30, memory=memory)) for _ in range(300)]
    by_block = np.mean([one(*pair, delta=0.0)[0] == Change.DRIFT for pair in pairs])
    by_frame = np.mean([mannwhitneyu(a.values, b.values).pvalue <= 0.05 for a, b in pairs])
    assert 0.02 <= by_block <= 0.085  # 0.05, give or take 2.8 standard errors of 300
    assert by_frame > 0.4 or not memory


def test_the_floor_keeps_chance_from_being_drift_in_longer_periods() -> None:
    rng = np.random.default_rng(2)
    assert not [None for _ in range(30) if one(smooth(rng, 30), smooth(rng, 30))[0] == Change.DRIFT]


def test_power_at_a_shift_of_one_deviation() -> None:
    rng = np.random.default_rng(3)
    found = [one(smooth(rng, 30), smooth(rng, 30, shift=1.0)) for _ in range(60)]
    assert np.mean([result == Change.DRIFT for result, _, _ in found]) >= 0.9
    # for normal values a shift of one deviation is a delta of 2 * Phi(1 / sqrt(2)) - 1 = 0.52
    assert np.mean([effect or 0.0 for _, effect, _ in found]) == pytest.approx(0.52, abs=0.05)


def test_delta_is_that_of_the_rank_sum_test() -> None:
    rng = np.random.default_rng(4)
    before, after = smooth(rng, 8), smooth(rng, 8, shift=-0.4)
    u = mannwhitneyu(after.values, before.values).statistic
    assert one(before, after)[1] == pytest.approx(2 * u / (len(before.values) * len(after.values)) - 1)


def test_a_large_but_sure_change_below_the_floor_is_no_drift() -> None:
    rng = np.random.default_rng(5)
    before, after = smooth(rng, 60), smooth(rng, 60, shift=0.4)
    result = drift({"count": before}, {"count": after})
    assert result.result == Change.NONE
    assert "not chance, but small" in result.shifts[0].reason


def test_a_figure_that_remembers_itself_for_long_is_given_longer_blocks() -> None:
    rng = np.random.default_rng(11)
    short, long = (
        drift({"count": smooth(rng, 60, memory=m)}, {"count": smooth(rng, 60, memory=m)}) for m in (0.5, 0.98)
    )
    assert short.shifts[0].block_s == 60
    assert 200 < long.shifts[0].block_s < 1200  # its correlation falls to a tenth in 114 s


def test_too_few_blocks_are_not_assessable() -> None:
    rng = np.random.default_rng(6)
    result = drift({"count": smooth(rng, 5, memory=0.0)}, {"count": smooth(rng, 10, shift=5.0, memory=0.0)})
    assert result.result == Change.NOT_ASSESSABLE
    assert "5 and 10 blocks of 60 s; 6 are needed" in result.reason


def test_what_cannot_be_assessed_is_said_beside_what_can() -> None:
    rng = np.random.default_rng(7)
    nothing = Series(np.zeros(0), np.zeros(0))
    before, after = smooth(rng, 20), smooth(rng, 20)
    result = drift({"count": before, "confidence": nothing}, {"count": after, "confidence": nothing})
    assert result.result == Change.NONE
    assert "not assessed: confidence" in result.reason


def test_words_say_which_way() -> None:
    rng = np.random.default_rng(8)
    result = drift({"confidence": smooth(rng, 20)}, {"confidence": smooth(rng, 20, shift=-3.0)})
    assert result.result == Change.DRIFT
    assert result.reason.startswith("confidence has fallen: Cliff's delta -0.9")


def test_holm_spends_alpha_over_all_figures() -> None:
    rng = np.random.default_rng(9)
    before = {name: smooth(rng, 20) for name in "abcd"}
    after = {name: smooth(rng, 20) for name in "abc"} | {"d": smooth(rng, 20, shift=4.0)}
    by_name = {it.figure: it for it in drift(before, after).shifts}
    alone = drift({"d": before["d"]}, {"d": after["d"]}).shifts[0]
    assert alone.p is not None
    assert by_name["d"].p == pytest.approx(4 * alone.p)
    assert by_name["d"].result == Change.DRIFT


def embedding(rng: Rng, minutes: int, towards: float = 0.0) -> Series:
    parts = [smooth(rng, minutes).values for _ in range(8)]
    parts[0] = parts[0] + towards
    return Series(np.arange(60 * minutes, dtype=np.float64), np.stack(parts, axis=1))


@pytest.mark.parametrize(
    ("towards", "result"), [pytest.param(0.0, Change.NONE, id="steady"), pytest.param(3.0, Change.DRIFT, id="moved")]
)
def test_embeddings_are_compared_by_the_distance_of_their_means(towards: float, result: Change) -> None:
    rng = np.random.default_rng(10)
    before, after = {"embedding": embedding(rng, 20)}, {"embedding": embedding(rng, 20, towards)}
    assert drift(before, after).result == result


def test_periods_of_a_fault_are_left_out() -> None:
    series = Series(np.arange(10, dtype=np.float64), np.arange(10, dtype=np.float64))
    assert series.without([(2, 4), (8, None)]).values.tolist() == [0, 1, 5, 6, 7]


@pytest.mark.parametrize(
    ("after", "words"),
    [
        pytest.param({"counts": Series(np.zeros(1), np.zeros(1))}, "same figures", id="another figure"),
        pytest.param({"count": Series(np.zeros(1), np.zeros((1, 3)))}, r"values of \(\) before", id="an embedding"),
    ],
)
def test_periods_must_have_the_same_figures(after: dict[str, Series], words: str) -> None:
    with pytest.raises(DataError, match=words):
        drift({"count": Series(np.zeros(1), np.zeros(1))}, after)


def test_frame_series() -> None:
    found = Detections(
        np.array([[0, 0, 10, 10], [0, 0, 20, 20]], np.float32), np.array([0.5, 0.75], np.float32), np.zeros(2, np.int64)
    )
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    series = frame_series([(1.0, found), (2.0, nothing)], (100, 100))
    assert series["confidence"].values.tolist() == [0.5, 0.75]
    assert series["box size"].values == pytest.approx([0.1, 0.2])
    assert series["box size"].seconds.tolist() == [1.0, 1.0]
    assert series["count"].values.tolist() == [2, 0]
