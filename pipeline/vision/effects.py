"""What several corruptions are made of: kernels, fields of noise, streaks. All randomness comes from the generator."""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Field = NDArray[np.float32]  # (H, W)
Pixels = NDArray[np.integer[Any] | np.floating[Any]]  # (H, W) or (H, W, C)
Rng = np.random.Generator

REFERENCE = 224  # pixels: the short side that the published severities assume
EDGE = cv2.BORDER_REPLICATE


def scale_of(shape: tuple[int, ...]) -> float:
    """Pixels of a picture of `shape` (H, W, ...) per pixel of the reference; at least 1, for a kernel needs pixels."""
    return max(1.0, min(shape[:2]) / REFERENCE)


def saturated(values: NDArray[np.float32]) -> Picture:
    """Rounded to uint8; what is below 0 or above 255 stays at the bound."""
    return np.asarray(cv2.addWeighted(values, 1.0, values, 0.0, 0.0, dtype=cv2.CV_8U), np.uint8)


def blend(image: Pixels, share: float, layer: Pixels, weight: float, offset: float = 0.0) -> Picture:
    """`share * image + weight * layer + offset`, saturated. `layer` has the image's shape, in 0..255."""
    return np.asarray(cv2.addWeighted(image, share, layer, weight, offset, dtype=cv2.CV_8U), np.uint8)


def cover(image: Picture, opacity: Field, color: tuple[int, int, int]) -> Picture:
    """The picture behind a layer of one RGB colour; `opacity` (H, W) in 0..1."""
    alpha = opacity[..., None]
    return saturated(image * (1 - alpha) + alpha * np.array(color, np.float32))


def blurred(image: Pixels, sigma: float) -> Pixels:
    """Gaussian blur; `sigma` in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=EDGE))


@lru_cache(64)
def disk(radius: float, soft: float) -> Field:
    """Kernel of a lens out of focus: a disk with edges blurred by `soft`; both in pixels."""
    reach = int(np.ceil(radius + soft))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    sharp = (x * x + y * y <= radius * radius).astype(np.float32)
    kernel = np.asarray(blurred(sharp, soft), np.float32)
    return np.asarray(kernel / kernel.sum(), np.float32)


def smeared(image: Pixels, length: float, degrees: float) -> Pixels:
    """The mean over a straight motion of `length` pixels, centred: boxes stay on their objects.

    Each turn averages the picture with itself a little way off and so doubles the exposures; `length` of them make the
    motion smooth. A convolution with the same line takes ten times as long.
    """
    size = image.shape[1], image.shape[0]
    turns = max(1, int(np.ceil(np.log2(length + 1))))
    step = length / 2**turns * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    mean = image
    for n in range(turns):
        half = step * 2**n / 2
        pair = [
            cv2.warpAffine(mean, np.array([[1, 0, way * half[0]], [0, 1, way * half[1]]]), size, borderMode=EDGE)
            for way in (-1, 1)
        ]
        mean = np.asarray(cv2.addWeighted(pair[0], 0.5, pair[1], 0.5, 0))
    return mean


def fractal(shape: tuple[int, ...], decay: float, rng: Rng) -> Field:
    """Cloud-like noise in 0..1, (H, W): octaves of smooth noise, each `decay` times weaker than the one before."""
    height, width = shape[:2]
    total = np.zeros((height, width), np.float32)
    octaves = max(1, int(np.ceil(np.log2(max(height, width)))))
    for octave in range(1, octaves + 1):
        cells = 2**octave
        rows = max(2, round(cells * height / max(height, width)) + 1)
        columns = max(2, round(cells * width / max(height, width)) + 1)
        grid = rng.random((rows, columns), np.float32) * np.float32(decay ** (1 - octave))
        total += np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - low) / max(high - low, 1e-6), np.float32)


def lines(shape: tuple[int, ...], count: float, length: float, degrees: float, thickness: float, rng: Rng) -> Field:
    """Falling drops or flakes as short lines, (H, W) in 0..1.

    Args:
        shape: (H, W, ...) of the picture.
        count: lines in a square of the reference's size.
        length: reference pixels; each line's own is 0.5 to 1.5 times as much.
        degrees: of the fall; 90 is straight down.
        thickness: reference pixels.
        rng: of the places.
    """
    height, width = shape[:2]
    scale = scale_of(shape)
    n = round(count * height * width / (REFERENCE * scale) ** 2)
    start = rng.uniform(-0.1, 1.1, (n, 2)) * (width, height)
    slant = np.radians(degrees + rng.normal(0, 2, n))
    reach = length * scale * rng.uniform(0.5, 1.5, n)
    end = start + np.stack([np.cos(slant), np.sin(slant)], 1) * reach[:, None]
    mask = np.zeros((height, width), np.uint8)
    pixels = np.stack([start, end], 1).round().astype(np.int32)
    cv2.polylines(mask, list(pixels), False, 255, max(1, round(thickness * scale)), cv2.LINE_AA)  # noqa: FBT003 - cv2's own
    return np.asarray(blurred(mask, 0.4 * thickness * scale), np.float32) / np.float32(255)
