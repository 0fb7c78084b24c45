"""Conditions of objects, worked out by hand."""

import numpy as np
import pytest

from pipeline.core import scenes
from pipeline.core.types import Frame, Truth


def frame(index: int = 0, camera: str = "hall", clip: str = "a", luminance: float = 0.0) -> Frame:
    return Frame(f"f{index}{clip}", camera, clip, index, index / 2, 200, 100, "x", luminance=luminance)


def truth(*boxes: list[float], ignore: tuple[bool, ...] = (), tracks: tuple[str, ...] = ()) -> Truth:
    n = len(boxes)
    mask = np.array(ignore or (False,) * n, np.bool_)
    return Truth(np.array(boxes, np.float32).reshape(-1, 4), np.zeros(n, np.int64), mask, ({},) * n, tracks)


def test_objects_have_the_light_of_their_frame_and_ignore_regions_are_none() -> None:
    frames = [frame(0, luminance=10), frame(1, luminance=20)]
    truths = [truth([10, 10, 20, 40], [0, 0, 9, 9], ignore=(False, True)), truth([5, 5, 9, 65], [50, 50, 60, 60])]
    values = scenes.measure(frames, truths, {})
    assert values["luminance"].tolist() == [10, 20, 20]
    assert values["height"].tolist() == [30, 60, 10]
    assert np.isnan(values["pixels per metre"]).all()
    assert {len(it) for it in values.values()} == {3}


def test_an_empty_benchmark_has_no_conditions() -> None:
    assert {len(it) for it in scenes.measure([frame()], [truth()], {}).values()} == {0}
    assert len(scenes.truncated([frame()], [truth()])) == 0


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        pytest.param([50, 50, 60, 60], False, id="inside"),
        pytest.param([0.5, 50, 60, 60], True, id="left"),
        pytest.param([50, 0, 60, 60], True, id="top"),
        pytest.param([50, 50, 199.5, 60], True, id="right"),
        pytest.param([50, 50, 60, 100], True, id="bottom"),
    ],
)
def test_truncation_is_touching_the_border(box: list[float], cut: bool) -> None:  # noqa: FBT001 - a case's answer
    assert scenes.truncated([frame()], [truth(box)]).tolist() == [cut]


@pytest.mark.parametrize(
    ("sights", "expected"),
    [
        # index and left of a box 10 px wide
        pytest.param([(0, 0), (2, 6)], [3, 3], id="two-sights"),
        pytest.param([(0, 0), (2, 6), (6, 30)], [3, 5, 6], id="from-before-to-after"),
        pytest.param([(4, 10)], [np.nan], id="once"),
    ],
)
def test_speed_is_movement_a_frame(sights: list[tuple[int, float]], expected: list[float]) -> None:
    frames = [frame(index) for index, _ in sights]
    truths = [truth([left, 0, left + 10, 20], tracks=("7",)) for _, left in sights]
    assert scenes.speeds(frames, truths) == pytest.approx(expected, nan_ok=True)


def test_a_track_is_of_one_clip() -> None:
    frames = [frame(0, clip="a"), frame(1, clip="b")]
    truths = [truth([0, 0, 10, 20], tracks=("7",)), truth([5, 0, 15, 20], tracks=("7",))]
    assert np.isnan(scenes.speeds(frames, truths)).all()


def test_boxes_without_a_track_have_no_speed() -> None:
    assert np.isnan(scenes.speeds([frame(0), frame(1)], [truth([0, 0, 1, 1]), truth([0, 0, 1, 1], tracks=("",))])).all()


def test_pixels_per_metre_grow_with_the_row() -> None:
    """20 px/m at row 20, 60 at row 40: 2 a row, the horizon at row 10; feet out of the picture are not known."""
    boxes = np.array([[0, 0, 9, 30], [0, 0, 9, 50], [0, 0, 9, 5], [0, 0, 9, 100]], float)
    values = scenes.pixels_per_metre(frame(), boxes, ((20, 20), (40, 60)))
    assert values.tolist() == pytest.approx([40, 80, np.nan, np.nan], nan_ok=True)


def test_only_calibrated_cameras_have_pixels_per_metre() -> None:
    frames = [frame(0, camera="hall"), frame(1, camera="lot")]
    values = scenes.measure(frames, [truth([0, 0, 9, 30]), truth([0, 0, 9, 30])], {"lot": ((20, 20), (40, 60))})
    assert values["pixels per metre"].tolist() == pytest.approx([np.nan, 40], nan_ok=True)
