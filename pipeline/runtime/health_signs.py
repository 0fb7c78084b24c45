"""What a look at a camera shows, measured against its reference picture.

All is measured at low resolution (about 320 pixels wide) on the median of the latest looks, so that who walks by is
not in it. The picture is judged by tiles: somebody who stands changes a few of them, a fault of the camera changes what
the faultless tiles have in common. A tile is compared by its gradients, which light changes less than levels; fine ones
(320 pixels) against coarse ones (80 pixels), because a lens out of focus loses the fine and keeps the coarse.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.runtime.health_motion import Follower, Luma, Matrix, gradients, shrunk, still, warped

Field = NDArray[np.float32]  # (h, w)

TILE = 20  # pixels: a side of a tile
COARSE = 4  # times smaller: the coarse scale
SMALLEST = 64  # pixels: a side of the smallest picture that can be judged
AGREES = 0.5  # correlation of gradients from which on a tile shows what the reference shows
GONE = 0.3  # correlation, and share of its gradients that is left: nothing of the tile is seen
WEAK = 0.4  # share of its energy that is left: the tile has lost its contrast
SEEN = 0.6  # correlation of coarse gradients from which on a tile tells how sharp the picture is
ENOUGH = 5  # tiles that must tell it
TEXTURE = 4.0  # grey levels: root mean square gradient (Sobel) from which on a tile has something to compare
SAME = 0.6  # share of tiles that agree: nothing has moved, no search is needed
FOUND = 0.25  # share of tiles that agree after a search: this is the reference, moved
PATIENCE, LONGEST = 2, 16  # looks between two searches, which take as long as five looks; twice as many after each
THIN, REACH = 6, 7  # grey levels, pixels: a line is so much brighter than its surroundings, and thinner
LIKE = 12  # grey levels: surroundings are as they were
SATURATED = 225  # grey levels: near the white of video, which is 235
MARGIN = 6  # pixels at the border that a small motion may have brought into view


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """How a camera's picture looks when nothing is wrong with it."""

    picture: Luma  # (h, w)
    stable: Field  # (h, w) 1 where the frames agreed, 0 where something moved
    sharp: float = 1.0  # of its own frames: below 1 where what is fine is noise
    lines: float = 0.0  # of its own frames: what passes by has thin lines too


@dataclass(frozen=True, slots=True)
class Signs:
    """What one look shows."""

    level: float  # mean, grey levels
    usual: float  # the reference's mean
    bright: float  # share of saturated pixels
    high: float  # level that a tenth of the pixels exceed, as a share of the reference's
    agree: float  # share of tiles that show what the reference shows, where it now lies
    shift: float  # how far the picture has moved, as a share of its width
    turn: float  # degrees that it has turned
    lost: float  # share of coarse tiles of which nothing is seen
    flat: float  # share of tiles that lost their contrast
    sharp: float  # share of the fine gradients that is left against that of the coarse ones, where they are best kept
    lines: float  # share of pixels on thin lines that are new, over surroundings that are not; beyond the usual
    smeared: float  # share of tiles that lost their contrast, against the tiles that kept it best


def make_reference(lumas: Sequence[Luma]) -> Reference:
    """A reference from a few untouched frames, best spread over minutes: what moves is left out by the median.

    Args:
        lumas: (h, w) uint8 each, of one shape, at least 64 pixels a side; one is enough, ten are better.

    Raises:
        DataError: none is given, they differ in shape, or they are too small.
    """
    if not lumas:
        raise DataError("a reference needs at least one picture of the camera")
    shapes = sorted({luma.shape for luma in lumas})
    if len(shapes) > 1 or len(shapes[0]) != 2 or min(shapes[0]) < SMALLEST:
        raise DataError(f"a reference needs pictures (h, w) of one shape, at least {SMALLEST} a side, got {shapes}")
    stack = np.stack(lumas).astype(np.float32)
    ratio = np.median(stack[:, ::4, ::4] / np.maximum(np.median(stack[:, ::4, ::4], axis=0), 1), axis=(1, 2))
    stack /= np.maximum(ratio, 0.1)[:, None, None]  # exposures differ
    picture = np.median(stack, axis=0)
    away = np.quantile(np.abs(stack - picture), 0.8, axis=0)
    reference = Reference(np.clip(picture + 0.5, 0, 255).astype(np.uint8), (away < LIKE).astype(np.float32))
    comparison = Comparison(reference)
    usual = [comparison.measure(luma) for luma in lumas]
    sharp, lines = (float(np.median([getattr(it, name) for it in usual])) for name in ("sharp", "lines"))
    return replace(reference, sharp=min(1.0, sharp), lines=lines)


class Comparison:
    """Measures looks against one reference. Holds what of the reference need not be computed again."""

    def __init__(self, reference: Reference) -> None:
        self._picture = reference.picture
        self._divisor = np.maximum(reference.picture[::4, ::4], 1).astype(np.float32)
        small = shrunk(reference.picture, COARSE)
        stable = cv2.resize(reference.stable, small.shape[::-1], interpolation=cv2.INTER_AREA)
        self._fine = _Gradients(reference.picture, reference.stable, TILE)
        self._coarse = _Gradients(small, np.asarray(stable, np.float32), TILE // COARSE)
        self._follower = Follower(reference.picture, reference.stable)
        self._matrix = still()
        self._wait, self._patience = 0, PATIENCE
        self._high = max(_high(reference.picture), 1.0)
        self._sharp, self._few = max(reference.sharp, 0.1), reference.lines
        self._usual = float(reference.picture.mean())
        self._steep, self._inner = _steepness(reference), _inner(reference.stable)

    def measure(self, luma: Luma) -> Signs:
        """The signs of a look (h, w), of the reference's shape."""
        laid, fine = self._laid(luma)
        coarse = _Compared(self._coarse, shrunk(laid, COARSE))
        height, width = luma.shape
        centre = self._matrix @ (width / 2, height / 2, 1) - (width / 2, height / 2)
        best = _above(fine.left[fine.seen], 0.75)
        return Signs(
            level=float(luma.mean()),
            usual=self._usual,
            bright=np.count_nonzero(luma >= SATURATED) / luma.size,
            high=_high(luma) / self._high,
            agree=fine.agree,
            shift=float(np.hypot(*centre)) / width,
            turn=float(np.degrees(np.arctan2(self._matrix[1, 0], self._matrix[0, 0]))),
            lost=coarse.share((coarse.correlation < GONE) & (coarse.slope < GONE)),
            flat=fine.share(fine.left < WEAK),
            sharp=_sharpness(fine, coarse) / self._sharp,
            lines=max(0.0, self._lines(laid) - self._few),
            smeared=fine.share(fine.left < WEAK * min(1.0, best)),
        )

    def _laid(self, luma: Luma) -> tuple[Luma, "_Compared"]:
        """The look laid over the reference: by the motion known so far, or by a search where that does not fit."""
        laid, compared = self._under(luma, self._matrix)
        self._wait -= 1
        if compared.agree >= SAME:
            self._patience = PATIENCE
        if compared.agree < SAME and self._wait < 0:
            self._wait, self._patience = self._patience, min(2 * self._patience, LONGEST)
            for matrix in self._follower.search(luma):
                other, found = self._under(luma, matrix)
                if found.agree > max(FOUND, compared.agree):
                    laid, compared, self._matrix = other, found, matrix
        elif compared.agree >= FOUND:
            self._matrix = self._follower.step(self._matrix, laid)  # serves the next look
        return laid, compared

    def _under(self, luma: Luma, matrix: Matrix) -> tuple[Luma, "_Compared"]:
        laid = warped(luma, matrix)
        return laid, _Compared(self._fine, laid)

    def _lines(self, laid: Luma) -> float:
        """A white top-hat of what has changed (Serra, 1982), beyond what a shift of half a pixel does at an edge."""
        gain = _above((laid[::4, ::4] / self._divisor).ravel(), 0.5)
        change = cv2.addWeighted(laid, 1.0, self._picture, -gain, 128)
        ground = np.asarray(cv2.morphologyEx(change, cv2.MORPH_OPEN, np.ones((REACH, REACH), np.uint8)), np.uint8)
        new = np.asarray(cv2.subtract(change, ground), np.uint8) > self._steep
        like = (ground >= 128 - LIKE) & (ground <= 128 + LIKE)
        return float((new & like & self._inner).mean())


def _high(luma: Luma) -> float:
    return _above(luma[::4, ::4].ravel(), 0.9)


def _above(values: NDArray[np.generic], share: float) -> float:
    """The least value that exceeds this share of them, 1 where there is none: a quantile in a tenth of NumPy's time."""
    place = int(share * (len(values) - 1))
    return float(np.partition(values, place)[place]) if len(values) else 1.0


def _steepness(reference: Reference) -> Luma:
    """What a line must exceed, (h, w): `THIN`, and at edges half of their height."""
    near = np.ones((3, 3), np.uint8)
    edges = cv2.dilate(cv2.morphologyEx(reference.picture, cv2.MORPH_GRADIENT, near), near)
    return np.asarray(cv2.addWeighted(edges, 0.5, edges, 0, THIN), np.uint8)


def _inner(stable: Field) -> NDArray[np.bool_]:
    inner = np.zeros(stable.shape, np.bool_)
    inner[MARGIN:-MARGIN, MARGIN:-MARGIN] = stable[MARGIN:-MARGIN, MARGIN:-MARGIN] > 0
    return inner


class _Gradients:
    """Gradients of a reference, and their energy by tile."""

    def __init__(self, picture: Luma, stable: Field, tile: int) -> None:
        height, width = picture.shape
        self._grid = max(1, round(width / tile)), max(1, round(height / tile))  # columns, rows
        self.stable = np.asarray(cv2.erode(stable, np.ones((3, 3), np.uint8)), np.float32)
        self.x, self.y = (part * self.stable for part in gradients(picture))
        self.energy = self.tiles(self.x * self.x + self.y * self.y)
        self.textured = self.energy > TEXTURE**2
        self.rich = self.textured & (self.energy >= _above(self.energy[self.textured], 0.5))

    def tiles(self, values: Field) -> Field:
        """Means by tile."""
        return np.asarray(cv2.resize(values, self._grid, interpolation=cv2.INTER_AREA), np.float32)


class _Compared:
    """A picture's gradients against the reference's, over the tiles in which the reference has any."""

    def __init__(self, reference: _Gradients, picture: Luma) -> None:
        x, y = gradients(picture)
        self.seen, self.rich = reference.textured, reference.rich
        self.left = reference.tiles((x * x + y * y) * reference.stable) / np.maximum(reference.energy, 1e-3)
        self.slope = reference.tiles(x * reference.x + y * reference.y) / np.maximum(reference.energy, 1e-3)
        self.correlation = self.slope / np.sqrt(np.maximum(self.left, 1e-6))
        self.agree = self.share(self.correlation > AGREES)

    def share(self, tiles: NDArray[np.bool_]) -> float:
        """Share of tiles, of those in which the reference has gradients."""
        return float(tiles[self.seen].mean()) if self.seen.any() else 0.0


def _sharpness(fine: _Compared, coarse: _Compared) -> float:
    """What the best quarter keeps of the richer half of the tiles, seen at the coarse scale: dirt leaves some sharp."""
    used = fine.rich & coarse.seen & (coarse.correlation > SEEN)
    return _above(fine.slope[used] / coarse.slope[used], 0.75) if used.sum() >= ENOUGH else 1.0
