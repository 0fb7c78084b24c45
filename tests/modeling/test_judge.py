import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.types import Truth
from pipeline.modeling.judge import Judge, Run, damage
from pipeline.modeling.onnx_graph import serialised, to_onnx
from pipeline.runtime.engines.engine import Candidates
from pipeline.runtime.preprocess import Placement
from tests.detectors import SIZE, Tiny, draft


def judge(frames: int) -> Judge:
    """Every frame holds a person of 16 by 16 pixels at its own place; the source has twice the input's pixels."""
    places = [np.array([[8 * i, 0, 8 * i + 16, 16]], np.float32) * 2 for i in range(frames)]
    return Judge(
        draft(),
        np.arange(frames, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, SIZE[1], SIZE[0]), np.uint8),
        [Placement(0.5, 0, 0)] * frames,
        [(2 * SIZE[0], 2 * SIZE[1])] * frames,
        [Truth(box, np.zeros(1, np.int64), np.zeros(1, np.bool_)) for box in places],
    )


def finder(shift: float, missed: int) -> Run:
    """Finds the person of each frame, moved to the right, but for those of the first frames."""

    def run(batch: NDArray[np.uint8]) -> Candidates:
        numbers = batch[:, 0, 0, 0].astype(np.float32)
        boxes = np.stack([8 * numbers + shift, 0 * numbers, 8 * numbers + 16 + shift, 0 * numbers + 16], -1)
        scores = np.stack([np.where(numbers < missed, 0, 0.9), 0 * numbers], -1)
        return boxes[:, None].astype(np.float32), scores[:, None].astype(np.float32)

    return run


@pytest.mark.parametrize(
    ("shift", "missed", "expected"),
    [
        pytest.param(0, 0, 100.0, id="all found"),
        pytest.param(0, 2, 100 * 51 / 101, id="half of four missed"),  # precision 1 at recalls 0 .. 0.5
        pytest.param(4, 0, 30.0, id="a quarter of a side off"),  # IoU 12 / 20 = 0.6 holds at 0.5, 0.55 and 0.6
        pytest.param(0, 4, 0.0, id="none found"),
    ],
)
def test_ap_is_that_of_coco(shift: float, missed: int, expected: float) -> None:
    assert judge(4).ap(finder(shift, missed)) == pytest.approx(expected)


def test_some_frames_can_be_judged_alone() -> None:
    assert judge(4).ap(finder(0, 2), [1, 3]) == pytest.approx(100 * 51 / 101)
    assert judge(4).ap(finder(0, 2), [2, 3]) == pytest.approx(100)


def test_a_graph_runs_in_the_runtime() -> None:
    it = judge(3)
    boxes, scores = it.run(serialised(to_onnx(Tiny().eval(), SIZE, 18, dynamic=True)))(it.batch)
    assert (boxes.shape, scores.shape) == ((3, 8, 4), (3, 8, 2))


def candidates(left: float, score: float, other: float = 0.0) -> Candidates:
    """A box of 20 by 20 pixels, and one that is background."""
    boxes = np.array([[[left, 0, left + 20, 20], [0, 0, 20, 20]]], np.float32)
    return boxes, np.array([[[score, 0.0], [0.0, other]]], np.float32)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(candidates(0, 0.8), 0.0, id="the same"),
        pytest.param(candidates(0, 0.6), 0.2, id="a lower score"),
        pytest.param(candidates(10, 0.8), 0.25, id="half a side off, in two of four coordinates"),
        pytest.param(candidates(0, 0.8, 0.4), 0.4 * 0.4 / 1.2, id="background with a score counts by it"),
    ],
)
def test_damage_is_by_hand(found: Candidates, expected: float) -> None:
    assert damage(candidates(0, 0.8), found) == pytest.approx(expected, abs=1e-6)
