"""A reference picture and a suspicious one side by side, with what has changed outlined."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.vision.draw import MARGIN, Picture, caption

WIDTH, TILE = 320, 20  # pixels: where change is looked for, and a side of a tile there
COLOR = (255, 70, 0)
DIMMED = 0.6  # of the light: what has not changed
LEVEL = 12  # grey levels: a tile's mean has changed
WEAKER, STRONGER = 0.4, 2.5  # share of its contrast: a tile's detail has gone, or come
TEXTURE = 16  # grey levels squared (Sobel): detail that can go or come
LIGHT = 0.3  # share by which all light has changed

Mask = NDArray[np.bool_]


def before_after(reference: Picture, suspicious: Picture, captions: tuple[str, str] = ("reference", "now")) -> Picture:
    """Both pictures with captions below; on the second, what differs from the first is framed, the rest dimmed.

    Args:
        reference: (H, W, 3) uint8 RGB.
        suspicious: (H', W', 3), scaled to the reference's size.
        captions: one line each.

    Returns:
        (H + a line, 2 W + a margin, 3) uint8 RGB.
    """
    height, width = reference.shape[:2]
    now = np.asarray(cv2.resize(suspicious, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    left = caption(reference, captions[0])
    right = caption(_outlined(now, changed(reference, now)), captions[1])
    gap = np.full((left.shape[0], MARGIN, 3), 255, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


def changed(reference: Picture, now: Picture) -> Mask:
    """Tiles (rows, columns) whose level or detail differs, exposure set aside; all, where all light has changed.

    Both pictures are (H, W, 3) uint8 RGB of one size.
    """
    before, after = _small(reference), _small(now)
    gain = float(np.median(after / np.maximum(before, 1)))
    height, width = before.shape
    grid = max(1, round(width / TILE)), max(1, round(height / TILE))
    if not 1 - LIGHT < gain < 1 / (1 - LIGHT):
        return np.ones(grid[::-1], np.bool_)
    apart = np.abs(cv2.resize(after - np.float32(gain) * before, grid, interpolation=cv2.INTER_AREA))
    old, new = (_detail(it, grid) for it in (before, after))
    new /= gain**2
    lost, come = (old > TEXTURE) & (new < WEAKER * old), (new > 2 * TEXTURE) & (new > STRONGER * old)
    return np.asarray((apart > LEVEL) | lost | come, np.bool_)


def _small(picture: Picture) -> NDArray[np.float32]:
    size = WIDTH, max(1, round(WIDTH * picture.shape[0] / picture.shape[1]))
    return np.asarray(cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA), "f4")


def _detail(luma: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    x, y = cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)
    return np.asarray(cv2.resize(np.asarray(x * x + y * y), grid, interpolation=cv2.INTER_AREA), np.float32)


def _outlined(picture: Picture, tiles: Mask) -> Picture:
    """The tiles framed; what is as it was stands back."""
    height, width = picture.shape[:2]
    mask = cv2.resize(tiles.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    share = np.where((mask > 0) | (not tiles.any()), 1.0, DIMMED)[..., None]
    canvas = np.ascontiguousarray(picture * share, np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(canvas, outlines, -1, COLOR, max(2, round(min(height, width) / 150)))
    return canvas
