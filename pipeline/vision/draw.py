"""Boxes on pictures, and contact sheets."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Color = tuple[int, int, int]  # RGB, 0..255

FONT = cv2.FONT_HERSHEY_SIMPLEX  # ASCII only: other letters come out as "?"
BACKGROUND = 32  # grey of a sheet
MARGIN = 4  # pixels between the pictures of a sheet
STRIP = 18  # height of a caption below a picture, pixels


def draw_boxes(image: Picture, boxes_xyxy: ArrayLike, captions: Sequence[str], color: Color) -> Picture:
    """A copy of the picture with boxes and a caption at each.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes_xyxy: (M, 4) pixels.
        captions: M of them; "" for none.
        color: RGB.
    """
    canvas = image.copy()
    thickness = max(1, round(min(image.shape[:2]) / 300))
    corners = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4).round().astype(int).tolist()
    for (left, top, right, bottom), caption in zip(corners, captions, strict=True):
        cv2.rectangle(canvas, (left, top), (right, bottom), color, thickness)
        if caption:
            _label(canvas, caption, (left, top), color, 0.35 * thickness)
    return canvas


def heat(image: Picture, values: NDArray[np.floating]) -> Picture:
    """The picture in grey under a map (h, w) of values from 0 on, stretched over it: blue little, red much."""
    height, width = image.shape[:2]
    stretched = cv2.resize(values.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    share = np.clip(stretched / max(float(values.max()), 1e-30), 0, 1)
    colors = cv2.applyColorMap(np.round(255 * share).astype(np.uint8), cv2.COLORMAP_JET)[..., ::-1]
    grey = image.mean(axis=2, keepdims=True)
    return np.asarray(np.round(0.55 * grey + 0.45 * colors), np.uint8)


def caption(image: Picture, text: str) -> Picture:
    """The picture with a line of text below it; text that is too long is cut."""
    strip = np.full((STRIP, image.shape[1], 3), BACKGROUND, np.uint8)
    cv2.putText(strip, text, (2, STRIP - 5), FONT, 0.4, (230, 230, 230), 1, cv2.LINE_AA)
    return np.concatenate([image, strip])


def sheet(images: Sequence[Picture], columns: int, width: int) -> Picture:
    """A contact sheet, row by row.

    Args:
        images: (H, W, 3) uint8 RGB of any size; each is scaled to its column.
        columns: pictures a row.
        width: of the sheet, pixels.

    Returns:
        (height, width, 3) uint8 RGB; only a margin high where there is no picture.
    """
    cell = (width - MARGIN * (columns + 1)) // columns
    tiles = [_scaled(image, cell) for image in images]
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    canvas = np.full((sum(heights) + MARGIN * (len(rows) + 1), width, 3), BACKGROUND, np.uint8)
    top = MARGIN
    for row, height in zip(rows, heights, strict=True):
        for i, tile in enumerate(row):
            left = MARGIN + i * (cell + MARGIN)
            canvas[top : top + tile.shape[0], left : left + cell] = tile
        top += height + MARGIN
    return canvas


def encode_png(image: Picture) -> bytes:
    """Encode an (H, W, 3) uint8 RGB picture as PNG."""
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return data.tobytes()


def _label(canvas: Picture, text: str, corner: tuple[int, int], color: Color, scale: float) -> None:
    """Text on a filled ground above the corner, or below where there is no room."""
    (width, height), base = cv2.getTextSize(text, FONT, scale, 1)
    left = max(0, min(corner[0], canvas.shape[1] - width))
    bottom = corner[1] if corner[1] >= height + base else max(0, corner[1]) + height + base
    cv2.rectangle(canvas, (left, bottom - height - base), (left + width, bottom), color, cv2.FILLED)
    ink = (0, 0, 0) if sum(color) > 380 else (255, 255, 255)
    cv2.putText(canvas, text, (left, bottom - base // 2 - 1), FONT, scale, ink, 1, cv2.LINE_AA)


def _scaled(image: Picture, width: int) -> Picture:
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    shrink = width < image.shape[1]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)
