"""Polygons against OpenCV's pointPolygonTest, and shapes and ways whose answer is plain to see."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from pipeline.runtime.zones import Crossing, fault, feet, inside

SQUARE = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)]
HOOK = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.5, 0.9), (0.5, 0.4), (0.1, 0.4)]
ARROW = [(0.1, 0.1), (0.9, 0.5), (0.1, 0.9), (0.4, 0.5)]
TRIANGLE = [(0.0, 1.0), (0.5, 0.0), (1.0, 1.0)]


@pytest.mark.parametrize("corners", [SQUARE, HOOK, ARROW, TRIANGLE, HOOK[::-1]])
def test_inside_is_what_opencv_says(corners: Sequence[tuple[float, float]]) -> None:
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 21), np.linspace(0, 1, 21)), axis=-1).reshape(-1, 2)
    points = np.concatenate([rng.random((500, 2)), grid, np.array(corners)])
    outline = np.array(corners, np.float32)
    distance = [cv2.pointPolygonTest(outline, (float(x), float(y)), measureDist=True) for x, y in points]
    clear = np.abs(distance) > 1e-6  # OpenCV rounds corners to float32
    assert clear.sum() > 500
    assert (inside(points, np.array(corners))[clear] == (np.array(distance) > 0)[clear]).all()


@pytest.mark.parametrize("corners", [SQUARE, HOOK, ARROW, TRIANGLE])
def test_the_edge_is_inside(corners: Sequence[tuple[float, float]]) -> None:
    a = np.array(corners)
    share = np.linspace(0, 1, 7)[:, None, None]
    assert inside((a + share * (np.roll(a, -1, axis=0) - a)).reshape(-1, 2), a).all()


def test_no_point_is_in_no_polygon() -> None:
    assert inside(np.zeros((0, 2)), np.array(SQUARE)).shape == (0,)


def test_feet_are_the_middle_of_the_lower_edge_inside_the_picture() -> None:
    boxes = np.array([[0.2, 0.1, 0.4, 0.5], [-0.2, 0.1, 0.1, 1.02]])
    assert feet(boxes) == pytest.approx(np.array([[0.3, 0.5], [0.0, 1.0]]))


@pytest.mark.parametrize(
    ("corners", "told"),
    [
        pytest.param(SQUARE, "", id="square"),
        pytest.param(HOOK, "", id="hook"),
        pytest.param(ARROW, "", id="arrow"),
        pytest.param(TRIANGLE, "", id="triangle"),
        pytest.param([*SQUARE[:2], (0.8, 0.5), *SQUARE[2:]], "", id="a-point-on-a-straight-side"),
        pytest.param(
            [(0, 0), (0.3, 0), (0.3, 0.5), (0.7, 0.5), (0.7, 0), (1, 0), (1, 1), (0, 1)], "", id="sides-on-one-straight"
        ),
        pytest.param(SQUARE[:2], "at least 3 points", id="two-points"),
        pytest.param([], "at least 3 points", id="none"),
        pytest.param([SQUARE[0], *SQUARE], "must not repeat a point: 0 and 1 are the same", id="a-point-twice"),
        pytest.param([*SQUARE, SQUARE[0]], "must not repeat a point: 4 and 0 are the same", id="closed-by-hand"),
        pytest.param(
            [SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]],
            "must not cross itself: the side from point 0 meets the side from point 2",
            id="bow-tie",
        ),
        pytest.param([(0.1, 0.1), (0.5, 0.5), (0.9, 0.9)], "must not cross itself", id="flat"),
        pytest.param([*SQUARE[:3], (0.5, 0.2), SQUARE[3]], "must not cross itself", id="touches-a-side"),
        pytest.param([*SQUARE, (0.2, 0.1)], "must not cross itself", id="turns-back-on-itself"),
        pytest.param(
            [(0, 0), (1, 0), (1, 1), (0.5, 0.5), (0, 1), (0.5, 0.5)], "must not cross itself", id="meets-in-a-point"
        ),
    ],
)
def test_fault(corners: Sequence[tuple[float, float]], told: str) -> None:
    found = fault(np.array(corners, np.float64).reshape(-1, 2))
    assert told in found
    assert bool(found) == bool(told)


def test_no_star_is_faulty_and_every_star_with_two_corners_swapped_is() -> None:
    rng = np.random.default_rng(1)
    for count in range(5, 60, 6):
        angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
        radius = rng.uniform(0.2, 0.5, count)
        star = 0.5 + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        assert fault(star) == ""
        half = count // 2
        star[[0, half]] = star[[half, 0]]
        assert "cross itself" in fault(star)


BAND = 0.05
UP = ((0.5, 0.9), (0.5, 0.1))  # looking up the picture: x below 0.5 is left


@pytest.mark.parametrize(
    ("xs", "told"),
    [
        pytest.param([0.3, 0.4, 0.6], ["left_to_right"], id="over"),
        pytest.param([0.7, 0.6, 0.3], ["right_to_left"], id="back"),
        pytest.param([0.3, 0.49, 0.51, 0.48, 0.52, 0.49, 0.51, 0.6], ["left_to_right"], id="jitter-on-the-way"),
        pytest.param([0.3, 0.51, 0.49, 0.52, 0.48, 0.4, 0.3], [], id="turns-back-on-the-line"),
        pytest.param([0.3, 0.52, 0.54], [], id="stops-in-the-band"),
        pytest.param([0.49, 0.51, 0.49, 0.51], [], id="stands-on-the-line"),
        pytest.param([0.3, 0.5, 0.7], ["left_to_right"], id="a-step-on-the-line-itself"),
        pytest.param([0.3, 0.5, 0.5, 0.3], [], id="touches-the-line"),
        pytest.param([0.52, 0.6, 0.7], [], id="begins-in-the-band"),
        pytest.param([0.3, 0.7, 0.3, 0.7], ["left_to_right", "right_to_left", "left_to_right"], id="to-and-fro"),
    ],
)
def test_a_crossing_counts_once_when_it_is_clear_of_the_line(xs: list[float], told: list[str]) -> None:
    line = Crossing(*UP)
    assert [way for x in xs if (way := line.step((x, 0.5), BAND))] == told


@pytest.mark.parametrize(
    ("points", "told"),
    [
        pytest.param([(0.3, 0.05), (0.7, 0.05)], [], id="beyond-the-upper-end"),
        pytest.param([(0.3, 0.95), (0.7, 0.95)], [], id="beyond-the-lower-end"),
        pytest.param([(0.3, 0.11), (0.7, 0.11)], ["left_to_right"], id="just-within"),
        pytest.param([(0.3, 0.0), (0.7, 0.3)], ["left_to_right"], id="slanting-within"),
        pytest.param([(0.3, 0.2), (0.7, -0.2)], [], id="slanting-beyond"),
        pytest.param([(0.3, 0.5), (0.52, 0.5), (0.48, 0.05), (0.7, 0.05)], [], id="jitter-within-then-around-the-end"),
        pytest.param(
            [(0.3, 0.5), (0.7, 0.5), (0.7, 0.05), (0.3, 0.05), (0.3, 0.5), (0.7, 0.5)],
            ["left_to_right", "left_to_right"],
            id="over-and-back-around-the-end",
        ),
    ],
)
def test_a_way_around_the_lines_end_is_no_crossing(points: list[tuple[float, float]], told: list[str]) -> None:
    line = Crossing(*UP)
    assert [way for point in points if (way := line.step(point, BAND))] == told


@pytest.mark.parametrize("degrees", range(0, 360, 30))
def test_direction_turns_with_the_line(degrees: int) -> None:
    angle = np.radians(degrees)
    along, right = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])  # y goes down
    middle = np.array([0.5, 0.5])
    line = Crossing(tuple((middle - 0.4 * along).tolist()), tuple((middle + 0.4 * along).tolist()))
    steps = [tuple((middle + off * right).tolist()) for off in (-0.3, -0.1, 0.1, 0.3)]
    assert [line.step(step, BAND) for step in steps] == ["", "", "left_to_right", ""]
