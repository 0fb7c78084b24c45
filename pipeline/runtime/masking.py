"""People made unrecognisable in pictures, in a way that cannot be undone.

A box is replaced by a few mean colours: what is finer than a cell is gone from the file, not hidden in it. Pixelation
alone has been undone by trying known faces or texts against the cells, and by many frames of a moving grid (Hill et al.
2016, "On the (In)effectiveness of Mosaicing and Blurring as Tools for Document Redaction"); so cells are coarse, their
colours are coarse too, and the whole is blurred.
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

CELLS = 6  # along a box's longer side: of a person who stands, the head is one cell
LEVELS = 16  # steps of a cell's colour
ENLARGE = 0.2  # share of its size that a box grows on every side

Image = NDArray[np.uint8]
Box = Sequence[float] | NDArray[np.floating]


def masked(picture: Image, boxes: Iterable[Box]) -> Image:
    """A copy of a picture (H, W, 3) with every pixel box xyxy, enlarged, made unrecognisable."""
    out = picture.copy()
    height, width = picture.shape[:2]
    for box in boxes:
        left, top, right, bottom = _enlarged(box, width, height)
        if right > left and bottom > top:
            out[top:bottom, left:right] = _coarse(picture[top:bottom, left:right])
    return out


def _enlarged(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = map(float, box)
    x, y = (right - left) * ENLARGE, (bottom - top) * ENLARGE
    return (
        max(0, int(np.floor(left - x))),
        max(0, int(np.floor(top - y))),
        min(width, int(np.ceil(right + x))),
        min(height, int(np.ceil(bottom + y))),
    )


def _coarse(part: Image) -> Image:
    """Mean colours of a few cells, in few steps, that run into one another: blurred as by a kernel of a cell's size."""
    height, width = part.shape[:2]
    cell = max(height, width) / CELLS
    grid = max(1, round(width / cell)), max(1, round(height / cell))
    means = cv2.resize(part.astype(np.float32), grid, interpolation=cv2.INTER_AREA).reshape(grid[1], grid[0], 3)
    step = 256 / LEVELS
    colours = ((np.floor(means / step) + 0.5) * step).astype(np.uint8)
    return np.asarray(cv2.resize(colours, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
