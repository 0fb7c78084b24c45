import cv2
import numpy as np
import pytest

from pipeline.runtime.health_motion import Follower, still, warped
from tests.camera_view import HEIGHT, WIDTH, noisy, view

VIEW = view()
FOLLOWER = Follower(VIEW, np.ones(VIEW.shape, np.float32))


def knocked(right: float, down: float, degrees: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    matrix = np.asarray(cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), degrees, 1.0), np.float64)
    matrix[:, 2] += right, down
    return matrix


@pytest.mark.parametrize(
    ("right", "down", "degrees"),
    [
        pytest.param(0.0, 0.0, 0.0, id="still"),
        pytest.param(32.0, 0.0, 0.0, id="10 % to the right"),
        pytest.param(-17.3, 21.6, 0.0, id="between pixels"),
        pytest.param(0.0, 0.0, 2.4, id="tilted"),
        pytest.param(9.0, -6.0, -4.7, id="tilted and shifted"),
    ],
)
def test_a_knock_is_found_to_half_a_pixel(right: float, down: float, degrees: float) -> None:
    matrix = knocked(right, down, degrees)
    seen = cv2.warpAffine(VIEW, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    found = FOLLOWER.search(noisy(np.asarray(seen, np.uint8), 1))[0]
    corners = np.array([[40, 30, 1], [280, 30, 1], [160, 150, 1]], np.float64).T
    assert np.abs(found @ corners - matrix @ corners).max() < 0.5


def test_a_step_follows_a_drift_below_a_pixel() -> None:
    seen = np.asarray(cv2.warpAffine(VIEW, knocked(0.4, -0.3, 0.0), (WIDTH, HEIGHT)), np.uint8)
    matrix = still()
    for _ in range(4):
        matrix = FOLLOWER.step(matrix, warped(seen, matrix))
    assert matrix[:, 2] == pytest.approx([0.4, -0.3], abs=0.1)


def test_a_step_is_short_whatever_is_seen() -> None:
    step = FOLLOWER.step(still(), np.asarray(255 - VIEW, np.uint8))
    assert np.abs(step - still())[:, 2].max() < 3


def test_nothing_to_follow_stays_still() -> None:
    blank = np.full((90, 160), 100, np.uint8)
    assert Follower(blank, np.ones(blank.shape, np.float32)).step(still(), blank) == pytest.approx(still())
