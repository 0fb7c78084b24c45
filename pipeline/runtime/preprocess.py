"""From a picture to what the model sees. Training, evaluation, export and the edge all use this one letterbox."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

FILL = 114  # grey of the bars


@dataclass(frozen=True, slots=True)
class Placement:
    """How a source picture lies in the input: scaled, then moved."""

    scale: float  # input pixels per source pixel
    left: int  # input pixels
    top: int

    def to_input(self, boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Boxes (N, 4) xyxy from source pixels to input pixels."""
        return (boxes * self.scale + self._shift()).astype(np.float32)

    def to_source(self, boxes: NDArray[np.floating], width: int, height: int) -> NDArray[np.float32]:
        """Boxes (N, 4) xyxy from input pixels to source pixels, clipped to the source picture."""
        moved = (boxes - self._shift()) / self.scale
        return np.clip(moved, 0, np.array([width, height, width, height], np.float32)).astype(np.float32)

    def _shift(self) -> NDArray[np.float32]:
        return np.array([self.left, self.top, self.left, self.top], np.float32)


def place(source: tuple[int, int], target: tuple[int, int]) -> Placement:
    """Where a picture of `source` (width, height) lies, centred and whole, in one of `target` (width, height)."""
    scale = min(target[0] / source[0], target[1] / source[1])
    width, height = scaled(source, scale)
    return Placement(scale, (target[0] - width) // 2, (target[1] - height) // 2)


def scaled(source: tuple[int, int], scale: float) -> tuple[int, int]:
    """Width and height after scaling, at least one pixel each."""
    return max(1, round(source[0] * scale)), max(1, round(source[1] * scale))


def letterbox(image: NDArray[np.uint8], target: tuple[int, int]) -> tuple[NDArray[np.uint8], Placement]:
    """Fit a picture into the input, keeping its aspect ratio.

    Args:
        image: (H, W, 3) uint8 RGB.
        target: width and height in pixels.

    Returns:
        the (height, width, 3) uint8 input with grey bars, and the placement that maps boxes both ways.
    """
    source = image.shape[1], image.shape[0]
    placement = place(source, target)
    width, height = scaled(source, placement.scale)
    shrink = placement.scale < 1
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
    canvas = np.full((target[1], target[0], 3), FILL, np.uint8)
    canvas[placement.top : placement.top + height, placement.left : placement.left + width] = resized
    return canvas, placement
