import hashlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import ConfigError
from pipeline.vision.corruptions import (
    FAMILIES,
    HUE_STEPS,
    MOTIONS,
    SEVERITIES,
    SHIFT_STEPS,
    STEPS,
    TILT_STEPS,
    WHITE_STEPS,
    check,
    corrupt,
    motion,
    moved,
)

NAMES = [name for family in FAMILIES.values() for name in family]
KEYS = [f"frame {i}" for i in range(6)]
Picture = NDArray[np.uint8]


def picture(height: int = 224, width: int = 320) -> Picture:
    """A scene with a sky, a floor, a few bright and dark things, and fine texture."""
    rng = np.random.default_rng(1)
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2] = (150, 170, 200)
    image[height // 2 :] = (120, 90, 70)
    for color in ((40, 60, 50), (200, 180, 60), (70, 70, 160), (180, 60, 60)):
        left, top = rng.integers(0, width), rng.integers(0, height)
        cv2.rectangle(image, (int(left), int(top)), (int(left) + 40, int(top) + 80), color, cv2.FILLED)
    texture = cv2.GaussianBlur(rng.normal(0, 40, (height, width)), (0, 0), 1.0)
    return np.clip(image + np.asarray(texture)[..., None], 0, 255).astype(np.uint8)


SCENE = picture()


def similarity(a: Picture, b: Picture) -> float:
    """SSIM (Wang et al., 2004) of the grey pictures, with its 11-pixel Gaussian window; 1 for equal ones."""
    x, y = (cv2.cvtColor(it, cv2.COLOR_RGB2GRAY).astype(np.float64) for it in (a, b))

    def local(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5))

    mx, my = local(x), local(y)
    vx, vy, cov = local(x * x) - mx * mx, local(y * y) - my * my, local(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(((2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))).mean())


def error(a: Picture, b: Picture) -> float:
    """Mean squared: what PSNR is made of."""
    return float(((a.astype(np.float64) - b) ** 2).mean())


@pytest.mark.parametrize("name", NAMES)
def test_severity_rises(name: str) -> None:
    """Likeness falls with each severity: by PSNR, or by SSIM where the published values change the tone too."""
    rows = [[corrupt(SCENE, name, severity, key) for severity in SEVERITIES] for key in KEYS]
    errors = np.mean([[error(SCENE, it) for it in row] for row in rows], axis=0)
    likeness = np.mean([[similarity(SCENE, it) for it in row] for row in rows], axis=0)
    rising = [i for i in range(4) if (name, i + 1) != ("snow", 2)]  # the paper's second snow is denser than its third
    assert (np.diff(errors)[rising] > 0).all() or (np.diff(likeness)[rising] < 0).all(), (errors, likeness)
    assert errors[-1] > 1.5 * errors[0] or likeness[-1] < 0.8 * likeness[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(48, 64), (9, 7), (1, 1)])
def test_small_pictures_keep_shape_and_type(name: str, size: tuple[int, int]) -> None:
    image = picture(*size)
    before = image.copy()
    for severity in (1, 5):
        out = corrupt(image, name, severity, "a")
        assert out.shape == image.shape
        assert out.dtype == np.uint8
    assert (image == before).all(), "the original was written into"


def digest(job: tuple[str, int, str]) -> str:
    return hashlib.sha256(corrupt(SCENE, *job).tobytes()).hexdigest()


def test_the_same_bytes_in_any_order_and_any_number_of_threads() -> None:
    jobs = [(name, severity, key) for name in NAMES for severity in (2, 5) for key in KEYS[:2]]
    one = dict(zip(jobs, map(digest, jobs), strict=True))
    with ThreadPoolExecutor(4) as pool:
        many = dict(zip(reversed(jobs), pool.map(digest, reversed(jobs)), strict=True))
    assert many == one


SAME_FOR_EVERY_FRAME = {
    *("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression", "stream_compression"),
    *("hue_rotation", "white_balance", "camera_tilt"),  # one of two directions
}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SAME_FOR_EVERY_FRAME])
def test_frames_differ(name: str) -> None:
    assert (corrupt(SCENE, name, 3, "a") != corrupt(SCENE, name, 3, "b")).any()


def test_an_unknown_corruption_is_named_with_all_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no such corruption: mist; there are gaussian_noise, .*, white_balance"):
        check(["fog", "mist"])


def test_steps_are_those_of_the_code() -> None:
    assert {name: steps for name, (_, steps) in STEPS.items()} == {
        "camera_tilt": TILT_STEPS,
        "camera_shift": SHIFT_STEPS,
        "hue_rotation": HUE_STEPS,
        "white_balance": WHITE_STEPS,
    }


def test_hue_turns_colours_and_leaves_greys() -> None:
    image = np.array([[[200, 100, 100], [90, 90, 90]]], np.uint8)
    ((turned, grey),) = corrupt(image, "hue_rotation", 4, "a").tolist()  # 90 degrees: red to yellow-green or to violet
    assert grey == [90, 90, 90]
    assert [max(turned), min(turned)] == pytest.approx([200, 100], abs=2)
    assert turned in ([pytest.approx(150, abs=3), 200, 100], [pytest.approx(150, abs=3), 100, 200])


def test_white_balance_trades_red_for_blue() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    red, green, blue = corrupt(image, "white_balance", 4, "a")[0, 0].tolist()  # half an octave
    assert green == 100
    assert sorted((red, blue)) == [71, 141]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in MOTIONS])
def test_nothing_else_moves(name: str) -> None:
    assert motion(name, 5, "a", (320, 224)) is None


def box(*corners: float) -> NDArray[np.float32]:
    return np.array([corners], np.float32)


@pytest.mark.parametrize(
    ("matrix", "before", "after", "visible"),
    [
        pytest.param([[1, 0, 10], [0, 1, -5]], (20, 20, 40, 60), (30, 15, 50, 55), 1.0, id="shifted"),
        pytest.param([[1, 0, 90], [0, 1, 0]], (0, 0, 20, 40), (90, 0, 100, 40), 0.5, id="half out"),
        pytest.param([[1, 0, 200], [0, 1, 0]], (0, 0, 20, 40), (100, 0, 100, 40), 0.0, id="gone"),
        # A quarter turn about the pixel centre (49.5, 49.5) of a 100 x 100 picture: (x, y) -> (y, 99 - x).
        pytest.param([[0, 1, 0], [-1, 0, 99]], (10, 20, 30, 60), (20, 70, 60, 90), 1.0, id="quarter turn"),
        # 45 degrees about (49.5, 49.5): half axes of 10 and 20 reach sqrt((10² + 20²) / 2) = 15.8 each way.
        pytest.param(
            [[0.70711, 0.70711, -20.5035], [-0.70711, 0.70711, 49.5]],
            (40, 30, 60, 70), (34.19, 34.19, 65.81, 65.81), 1.0, id="eighth turn",
        ),
    ],
)  # fmt: skip
def test_boxes_move_with_the_picture(
    matrix: list[list[float]], before: tuple[float, ...], after: tuple[float, ...], visible: float
) -> None:
    boxes, share = moved(box(*before), np.array(matrix, np.float64), (100, 100))
    assert boxes[0].tolist() == pytest.approx(after, abs=0.01)
    assert share[0] == pytest.approx(visible)


def test_no_box_moves_nowhere() -> None:
    boxes, share = moved(np.zeros((0, 4), np.float32), np.eye(3)[:2], (10, 10))
    assert boxes.shape == (0, 4)
    assert share.shape == (0,)


@pytest.mark.parametrize("name", MOTIONS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_bright_disk_stays_in_its_box(name: str, severity: int) -> None:
    """Pixels and boxes go the same way: the moved disk's extent is the moved box, to a pixel."""
    image = np.zeros((200, 300, 3), np.uint8)
    cv2.circle(image, (159, 109), 30, (255, 255, 255), cv2.FILLED)
    matrix = motion(name, severity, "a", (300, 200))
    assert matrix is not None
    boxes, _ = moved(box(129, 79, 190, 140), matrix, (300, 200))
    y, x = np.nonzero(corrupt(image, name, severity, "a").min(axis=2) > 180)
    assert [x.min(), y.min(), x.max() + 1, y.max() + 1] == pytest.approx(boxes[0].tolist(), abs=1.5)


@pytest.mark.parametrize(("severity", "degrees"), list(zip(SEVERITIES, TILT_STEPS, strict=True)))
def test_tilt_turns_by_its_step(severity: int, degrees: float) -> None:
    matrix = motion("camera_tilt", severity, "a", (300, 200))
    assert matrix is not None
    assert abs(np.degrees(np.arctan2(matrix[0, 1], matrix[0, 0]))) == pytest.approx(degrees)


@pytest.mark.parametrize(("severity", "share"), list(zip(SEVERITIES, SHIFT_STEPS, strict=True)))
def test_shift_goes_as_far_as_its_step(severity: int, share: float) -> None:
    matrix = motion("camera_shift", severity, "a", (300, 200))
    assert matrix is not None
    assert np.hypot(*matrix[:, 2]) == pytest.approx(share * 200)
