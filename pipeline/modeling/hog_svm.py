"""HOG and linear SVMs (Dalal & Triggs, CVPR 2005): a sliding window over an image pyramid, as one graph.

A class has several templates of different aspect ratios (Felzenszwalb et al., PAMI 2010). A template is one filter of a
convolution over the pyramid's maps; it is a linear SVM, which `mining` trains.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import box_iou

from pipeline.modeling.assign import within
from pipeline.modeling.detector import Detector, Target
from pipeline.modeling.hog import CELL, DEPTH, Pyramid

TEMPLATES = 2  # a class
KERNEL = 11  # blocks a side: room for any template
AREA = 36.0  # cells of a template's object
STEP = 2 ** (1 / 3)  # from one level's scale to the next
NEAR, FAR = 0.6, 0.4  # IoU with an object of the class from which on a window shows it, and below which it does not


class HogSvm(Detector):
    """See the module. `size` is the input's width and height in pixels.

    P = places of all levels, T = templates of all classes, class by class. A candidate is a place and a template.
    """

    sizes: Tensor  # (T, 2) width and height of each template's object, cells
    slope: Tensor  # (T,) from margin to score
    offset: Tensor  # (T,)
    label: Tensor  # (T,) the template's class
    centres: Tensor  # (P, 2) input pixels
    cells: Tensor  # (P, 2) input pixels a cell

    def __init__(self, classes: int, size: tuple[int, int]) -> None:
        super().__init__(classes)
        count = classes * TEMPLATES
        levels = 1 + math.floor(math.log(max(size) / (CELL * math.sqrt(AREA)), STEP))
        self.backbone = Pyramid(size, [STEP**-i for i in range(levels)])
        self.templates = nn.Conv2d(DEPTH, count, KERNEL, padding=KERNEL // 2)
        nn.init.zeros_(self.templates.weight)
        nn.init.constant_(self.templates.bias, -1.0)  # type: ignore[arg-type]  # it has one
        self.register_buffer("sizes", torch.full((count, 2), math.sqrt(AREA)))
        self.register_buffer("slope", torch.ones(count))
        self.register_buffer("offset", torch.zeros(count))
        self.register_buffer("label", torch.arange(count) // TEMPLATES, persistent=False)
        places = [_places(size, level) for level in self.backbone.sizes]
        for name, values in zip(("centres", "cells"), zip(*places, strict=True), strict=True):
            self.register_buffer(name, torch.cat(values), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Detector.forward`."""
        margins = flat(self.margins(self.backbone(images)))
        scores = (margins * self.slope + self.offset).sigmoid()
        one_hot = functional.one_hot(self.label, self.classes).to(scores.dtype)
        boxes = self._boxes().flatten(0, 1)
        return boxes.expand(images.shape[0], -1, -1), (scores[..., None] * one_hot).flatten(1, 2)

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """See `Detector.loss`: the squared hinge of all windows, whose sum over the hard ones `mining` makes least."""
        margins = flat(self.margins(self.backbone(images)))
        overlap, ignored = (torch.stack(it) for it in zip(*(self.overlap(t) for t in targets), strict=True))
        sign = (overlap >= NEAR).float() - ((overlap < FAR) & ~ignored[..., None]).float()
        return {"hinge": (sign.abs() * (1 - sign * margins).clamp_min(0).square()).mean()}

    def margins(self, maps: list[Tensor]) -> list[Tensor]:
        """(B, T, h, w) of every level."""
        return [self.templates(m) for m in maps]

    def _boxes(self) -> Tensor:
        """The windows' objects (P, T, 4), input-pixel xyxy."""
        half = self.cells[:, None] * self.sizes / 2
        return torch.cat([self.centres[:, None] - half, self.centres[:, None] + half], -1)

    def overlap(self, target: Target) -> tuple[Tensor, Tensor]:
        """Best IoU of each window with an object of its class (P, T), and whether a place is to be ignored (P,)."""
        boxes, found = self._boxes(), torch.zeros(len(self.centres), len(self.label))
        for template, label in enumerate(self.label):
            mine = target.boxes[~target.ignore & (target.labels == label)]
            if len(mine):
                found[:, template] = box_iou(boxes[:, template], mine).amax(1)
        return found, within(self.centres, target.boxes[target.ignore]).any(0)


def shape_of(size: Tensor) -> tuple[int, int]:
    """Height and width in blocks of a template whose object is of `size` (width, height) in cells, and its rim."""
    width, height = (min(KERNEL, 2 * round(float(side) / 2) + 1) for side in size)
    return height, width


def _places(size: tuple[int, int], level: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Middle of every block of a level (P, 2), and the size of a cell there (P, 2), both in input pixels."""
    cell = torch.tensor([CELL * size[0] / level[0], CELL * size[1] / level[1]])
    rows, columns = torch.arange(1.0, level[1] // CELL), torch.arange(1.0, level[0] // CELL)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    centres = torch.stack([x, y], -1).reshape(-1, 2) * cell
    return centres, cell.expand_as(centres)


def flat(maps: list[Tensor]) -> Tensor:
    """Maps (B, T, h, w) of all levels as (B, P, T)."""
    return torch.cat([m.flatten(2) for m in maps], 2).transpose(1, 2)
