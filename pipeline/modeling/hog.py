"""Histograms of oriented gradients (Dalal & Triggs, CVPR 2005) as fixed filters, over an image pyramid.

Everything is a convolution or plain arithmetic, so that the features are part of the exported graph. Conventions are
OpenCV's: square roots of grey levels, centred differences, 9 unsigned orientations, blocks of 2x2 cells,
votes interpolated between orientations and cells under a Gaussian window, and L2 norms clipped at 0.2 (L2-Hys).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

CELL = 4  # pixels a side; Dalal & Triggs' 8, for smaller objects
BINS = 9  # orientations of half a turn
DEPTH = 4 * BINS  # numbers a block
CLIP = 0.2
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601
TINY = 1e-6  # keeps gradients finite where a picture has none
FLAT = 0.001  # a fiftieth of the least step between bright levels: less is rounding, whose orientation says nothing


class Hog(nn.Module):
    """Blocks (B, 36, h / cell - 1, w / cell - 1) of grey pictures (B, 1, h, w) of 0..255; one starts at every cell.

    Orientation comes first in the 36, then the block's cell: top left, top right, bottom left, bottom right.

    Args:
        cell: pixels a side.
    """

    window: Tensor

    def __init__(self, cell: int = CELL) -> None:
        super().__init__()
        self.cell = cell
        self.register_buffer("window", functional.pixel_unshuffle(_window(cell), cell), persistent=False)

    def forward(self, grey: Tensor) -> Tensor:
        """See the class."""
        height, width = grey.shape[2:]
        votes = functional.pixel_unshuffle(self._votes(grey).reshape(-1, 1, height, width), self.cell)
        cells = functional.conv2d(votes, self.window)
        return _normalised(cells.reshape(-1, DEPTH, height // self.cell - 1, width // self.cell - 1))

    def _votes(self, grey: Tensor) -> Tensor:
        """Of every pixel: its gradient's magnitude, shared by the two orientations next to its own; (B, 9, h, w)."""
        level = functional.pad((grey + TINY).sqrt(), (1, 1, 1, 1), mode="reflect")
        # Slices, not a convolution: what comes before the first of them is never quantised, as an angle must not be.
        dx = level[:, :, 1:-1, 2:] - level[:, :, 1:-1, :-2]
        dy = level[:, :, 2:, 1:-1] - level[:, :, :-2, 1:-1]
        energy = dx.square() + dy.square()
        magnitude = (energy + TINY**2).sqrt() * energy / (energy + FLAT**2)
        angle = torch.atan2(dy, dx + TINY) * (BINS / math.pi)  # -9..9, a half turn is 9
        centres = torch.arange(BINS, device=grey.device).view(1, -1, 1, 1) + 0.5
        away = (torch.where(angle < 0, angle + BINS, angle) - centres).abs()
        return magnitude * (1 - torch.minimum(away, BINS - away)).clamp_min(0)


class Pyramid(nn.Module):
    """HOG maps of uint8 pictures (B, 3, H, W) at several scales, finest first.

    Args:
        size: width and height of the input, pixels.
        scales: of the levels, against the input.
    """

    grey: Tensor

    def __init__(self, size: tuple[int, int], scales: Sequence[float]) -> None:
        super().__init__()
        self.hog = Hog()
        self.sizes = [(_cells(size[0] * scale), _cells(size[1] * scale)) for scale in scales]  # pixels
        self.register_buffer("grey", torch.tensor(GREY).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 36, h, w) of every level."""
        grey = (images.float() * self.grey).sum(1, keepdim=True)
        return [self.hog(_resized(grey, size)) for size in self.sizes]


def _cells(side: float) -> int:
    """The nearest number of pixels that is whole cells, and holds a block."""
    return max(2, round(side / CELL)) * CELL


def _resized(grey: Tensor, size: tuple[int, int]) -> Tensor:
    """To width and height: halved as long as that is too large, which blurs as it should, and the rest bilinear."""
    while grey.shape[3] >= 2 * size[0] and grey.shape[2] >= 2 * size[1]:
        grey = functional.avg_pool2d(grey, 2)
    return functional.interpolate(grey, size=(size[1], size[0]), mode="bilinear")


def _window(cell: int) -> Tensor:
    """What each pixel of a block gives to its four cells (4, 1, 2 * cell, 2 * cell): near ones more, the rim less."""
    pixel = torch.arange(2.0 * cell)
    gauss = torch.exp(-((pixel - cell) ** 2) / (2 * (cell / 2) ** 2))
    place = (pixel + 0.5) / cell - 0.5  # in units of cells, 0 in the middle of the first
    near = gauss * (1 - (place - torch.arange(2.0)[:, None]).abs()).clamp_min(0)
    return (near[:, None, :, None] * near[None, :, None, :]).reshape(4, 1, 2 * cell, 2 * cell)


def _normalised(cells: Tensor) -> Tensor:
    """L2-Hys: unit length, clipped, unit length again; OpenCV's small constants."""
    clipped = (cells / _length(cells, 0.1 * DEPTH)).clamp_max(CLIP)
    return clipped / _length(clipped, 1e-3)


def _length(blocks: Tensor, least: float) -> Tensor:
    """L2 norm of each block plus `least`; never below it, which a sum of few bits may round to nothing."""
    norm = (blocks.square().sum(1, keepdim=True) + TINY**2).sqrt()
    return torch.maximum(norm + least, torch.full_like(norm, least))
