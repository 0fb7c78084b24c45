"""Corruptions by name and severity, for measuring what a detector still finds: weather, noise, dirt, a knocked camera.

A corrupted picture is a function of picture, name, severity and a key (the frame's id) alone: not of the process, the
order of calls or their number. Severity 1 is mild, 5 severe; the same chance rules all severities of one frame, so that
they differ by nothing else. Two corruptions move the picture; `motion` says where to,
so that the truth can move with it. `vision.policies` holds what training sees; here is what it may not have seen.
"""

import hashlib
from collections.abc import Callable, Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.boxes import area
from pipeline.core.errors import ConfigError
from pipeline.vision.effects import Picture, Rng
from pipeline.vision.imagenet_c import COMMON
from pipeline.vision.surveillance import SURVEILLANCE

SEVERITIES = (1, 2, 3, 4, 5)
GREY = (114, 114, 114)  # where a moved camera shows what no frame has: nothing is invented
HUE_STEPS = (15, 30, 60, 90, 150)  # degrees on the colour wheel
WHITE_STEPS = (0.1, 0.2, 0.35, 0.5, 0.7)  # octaves between red and green, and green and blue
TILT_STEPS = (2, 4, 7, 11, 16)  # degrees about the optical axis
SHIFT_STEPS = (0.03, 0.06, 0.1, 0.15, 0.22)  # shares of the short side

Matrix = NDArray[np.float64]  # (2, 3): where a pixel (x, y, 1) of the original lies
Boxes = NDArray[np.float32]  # (M, 4) pixel xyxy


def hue_rotation(image: Picture, severity: int, rng: Rng) -> Picture:
    """Every hue turned one way or the other by the same angle; greys stay grey."""
    turn = round(HUE_STEPS[severity - 1] / 360 * 256) * int(rng.choice((-1, 1)))
    hsv = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), np.uint8)
    hsv[..., 0] += np.uint8(turn % 256)  # a byte is one full turn
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), np.uint8)


def white_balance(image: Picture, severity: int, rng: Rng) -> Picture:
    """Too warm or too cold: red and blue gain against each other."""
    octaves = WHITE_STEPS[severity - 1] * int(rng.choice((-1, 1)))
    gains = 2.0 ** (octaves * np.array([1.0, 0.0, -1.0]))
    table = np.clip(np.arange(256)[:, None] * gains, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[None]), np.uint8)


def camera_tilt(severity: int, rng: Rng, size: tuple[int, int]) -> Matrix:
    """The mount has turned: a rotation about the picture's centre."""
    degrees = TILT_STEPS[severity - 1] * int(rng.choice((-1, 1)))
    centre = ((size[0] - 1) / 2, (size[1] - 1) / 2)
    return np.asarray(cv2.getRotationMatrix2D(centre, degrees, 1.0), np.float64)


def camera_shift(severity: int, rng: Rng, size: tuple[int, int]) -> Matrix:
    """The mount has been knocked: the picture lies elsewhere, in any direction."""
    distance, direction = SHIFT_STEPS[severity - 1] * min(size), rng.uniform(0, 2 * np.pi)
    return np.array([[1, 0, distance * np.cos(direction)], [0, 1, distance * np.sin(direction)]])


PIXELS: dict[str, Callable[[Picture, int, Rng], Picture]] = {
    **COMMON,
    **SURVEILLANCE,
    "hue_rotation": hue_rotation,
    "white_balance": white_balance,
}
MOTIONS: dict[str, Callable[[int, Rng, tuple[int, int]], Matrix]] = {
    "camera_tilt": camera_tilt,
    "camera_shift": camera_shift,
}
FAMILIES: dict[str, tuple[str, ...]] = {
    "common": tuple(COMMON),
    "surveillance": (*SURVEILLANCE, *MOTIONS),
    "colour": ("hue_rotation", "white_balance"),
}

STEPS = {  # what the severities are, where that can be said in one unit
    "camera_tilt": ("degrees", TILT_STEPS),
    "camera_shift": ("of the short side", SHIFT_STEPS),
    "hue_rotation": ("degrees", HUE_STEPS),
    "white_balance": ("octaves", WHITE_STEPS),
}


def check(names: Iterable[str]) -> None:
    """Raise ConfigError where a name is of no corruption; names all that there are."""
    known = [name for family in FAMILIES.values() for name in family]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ConfigError(
            f"robustness.corruptions: no such corruption: {', '.join(unknown)}; there are {', '.join(known)}"
        )


def corrupt(image: Picture, name: str, severity: int, key: str) -> Picture:
    """The corrupted picture, of the same shape.

    Args:
        image: (H, W, 3) uint8 RGB.
        name: one of `FAMILIES`.
        severity: 1 to 5.
        key: what the randomness is drawn from, beside the name: the frame's id.
    """
    height, width = image.shape[:2]
    matrix = motion(name, severity, key, (width, height))
    if matrix is None:
        return PIXELS[name](image, severity, _generator(name, key))
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderValue=GREY), np.uint8)


def motion(name: str, severity: int, key: str, size: tuple[int, int]) -> Matrix | None:
    """Where the pixels of a picture of `size` (width, height) go; None for a corruption that moves nothing."""
    return MOTIONS[name](severity, _generator(name, key), size) if name in MOTIONS else None


def _generator(name: str, key: str) -> Rng:
    digest = hashlib.sha256(f"{key} {name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16]))


def moved(boxes: Boxes, matrix: Matrix, size: tuple[int, int]) -> tuple[Boxes, NDArray[np.float64]]:
    """Boxes where the picture's motion has taken them, and the share (M,) of each that is still in the picture.

    An object fills its box like an ellipse rather than to the corners, so its new box is that of the moved ellipse
    (Kalra et al., ICCV 2021): the box of the moved corners would be too large.

    Args:
        boxes: (M, 4) pixel xyxy.
        matrix: from `motion`.
        size: width and height of the picture.
    """
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5  # the matrix counts from the centre of the first pixel
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    new = centre @ matrix[:, :2].T + matrix[:, 2] + 0.5
    reach = np.sqrt(half**2 @ (matrix[:, :2] ** 2).T)
    whole = np.concatenate([new - reach, new + reach], axis=1).astype(np.float32)
    inside = np.clip(whole, 0, np.array([*size, *size], np.float32))
    return inside, area(inside) / np.maximum(area(whole), 1e-6)
