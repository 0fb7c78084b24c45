"""Nano and small: single-shot, anchor-free detectors of dense convolutions, in the YOLO line.

Dense 3x3 convolutions suit CPUs' matrix units and TensorRT better than depthwise ones. Three levels (strides 8, 16,
32), pooled surroundings on the coarsest (SPPF of YOLOv5, after He et al., ECCV 2014), a top-down and bottom-up neck
(PAN, Liu et al., CVPR 2018), a decoupled head (YOLOX, Ge et al., 2021), task-aligned assignment (TOOD, Feng et al.,
ICCV 2021), binary cross-entropy towards the IoU-aware score, and GIoU for the boxes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss

from pipeline.modeling import ranks
from pipeline.modeling.assign import assign
from pipeline.modeling.detector import Detector, Target

STRIDES = (8, 16, 32)
BOX_WEIGHT = 5.0  # of the boxes' loss, beside the classes'
PRIOR = 0.01  # chance of an object at a point before anything is learned (RetinaNet, Lin et al., ICCV 2017)


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a member of the family is."""

    widths: tuple[int, ...]  # channels at strides 2, 4, 8, 16, 32
    neck: int  # channels of every level after the neck
    depth: int  # residual blocks a level of the backbone


NANO = Shape((16, 32, 64, 128, 192), 48, 1)
SMALL = Shape((24, 48, 96, 192, 288), 96, 2)


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, momentum=0.03),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two dense convolutions through half the channels, beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(channels, channels // 2), conv(channels // 2, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        return x + self.body(x)  # type: ignore[no-any-return]


class SpatialPyramid(nn.Module):
    """Every cell beside the maxima of the 5x5, 9x9 and 13x13 cells around it: more than its convolutions reach."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = conv(channels, channels // 2, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.merge = conv(channels // 2 * 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        scales = [self.reduce(x)]
        for _ in range(3):
            scales.append(self.pool(scales[-1]))
        return self.merge(torch.cat(scales, 1))  # type: ignore[no-any-return]


class Backbone(nn.Module):
    """Features at strides 8, 16 and 32."""

    def __init__(self, widths: Sequence[int], depth: int) -> None:
        super().__init__()
        stem, quarter, *levels = widths
        self.stem = nn.Sequential(conv(3, stem, stride=2), conv(stem, quarter, stride=2))
        inputs = [quarter, *levels]
        self.levels = nn.ModuleList(
            nn.Sequential(conv(i, o, stride=2), *(Residual(o) for _ in range(depth)))
            for i, o in zip(inputs, levels, strict=False)
        )
        self.surroundings = SpatialPyramid(levels[-1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to three maps."""
        x = self.stem(x)
        maps = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        return [*maps[:-1], self.surroundings(maps[-1])]


class Neck(nn.Module):
    """Top-down, then bottom-up; every level comes out with the same width."""

    def __init__(self, levels: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(conv(c, width, 1) for c in levels)
        self.down = nn.ModuleList(conv(width, width) for _ in levels[:-1])
        self.up = nn.ModuleList(conv(width, width, stride=2) for _ in levels[:-1])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Three maps in, three maps of one width out."""
        x = [lateral(m) for lateral, m in zip(self.lateral, maps, strict=True)]
        for i in range(len(x) - 2, -1, -1):
            x[i] = self.down[i](x[i] + functional.interpolate(x[i + 1], scale_factor=2.0, mode="nearest"))
        for i in range(1, len(x)):
            x[i] = x[i] + self.up[i - 1](x[i - 1])
        return x


class Head(nn.Module):
    """Class logits and distances to the four sides, from one shared and two own convolutions a level."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.shared = nn.ModuleList(conv(width, width) for _ in STRIDES)
        self.box_tower = nn.ModuleList(conv(width, width) for _ in STRIDES)
        self.logits = nn.ModuleList(nn.Conv2d(width, classes, 1) for _ in STRIDES)
        self.sides = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in STRIDES)
        for layer in self.logits:
            nn.init.constant_(layer.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]
        for layer in self.sides:
            nn.init.constant_(layer.bias, 1.0)  # type: ignore[arg-type]

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (B, A, C) and distances left, top, right, bottom before softplus (B, A, 4), in strides."""
        logits, sides = [], []
        for i, x in enumerate(maps):
            shared = self.shared[i](x)
            logits.append(self.logits[i](shared).flatten(2))
            sides.append(self.sides[i](self.box_tower[i](shared)).flatten(2))
        return torch.cat(logits, 2).transpose(1, 2), torch.cat(sides, 2).transpose(1, 2)


class Nano(Detector):
    """See the module. `size` is the input's width and height in pixels, multiples of 32."""

    points: Tensor
    strides: Tensor

    def __init__(self, classes: int, size: tuple[int, int], shape: Shape = NANO) -> None:
        super().__init__(classes)
        self.backbone = Backbone(shape.widths, shape.depth)
        self.neck = Neck(shape.widths[2:], shape.neck)
        self.head = Head(shape.neck, classes)
        points, strides = _grid(size)
        self.register_buffer("points", points, persistent=False)
        self.register_buffer("strides", strides, persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Detector.forward`."""
        logits, boxes = self._raw(images)
        return boxes, logits.sigmoid()

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """See `Detector.loss`: `class` and `box`, both normalised by the sum of all ranks' target scores."""
        logits, boxes = self._raw(images)
        scores = logits.detach().sigmoid()
        found = [assign(self.points, b.detach(), s, t) for b, s, t in zip(boxes, scores, targets, strict=True)]
        quality = torch.stack([f.quality for f in found])
        total = ranks.mean(quality.sum()).clamp_min(1.0 / ranks.count())
        mask = torch.stack([f.background for f in found]).unsqueeze(-1)
        entropy = functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")
        predicted = torch.cat([b[f.positive] for b, f in zip(boxes, found, strict=True)])
        wanted = torch.cat([f.boxes for f in found])
        weight = torch.cat([f.quality[f.positive].amax(1) for f in found])
        giou = generalized_box_iou_loss(predicted, wanted, reduction="none")
        return {"class": (entropy * mask).sum() / total, "box": BOX_WEIGHT * (giou * weight).sum() / total}

    def _raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, A, C) and boxes (B, A, 4) input-pixel xyxy, both float32."""
        # In place: new memory costs more than arithmetic.
        levels = images.to(self.points.dtype, copy=True).div_(255.0).sub_(0.5)
        logits, sides = self.head(self.neck(self.backbone(levels)))
        reach = functional.softplus(sides.to(self.strides.dtype)) * self.strides
        return logits.to(reach.dtype), torch.cat([self.points - reach[..., :2], self.points + reach[..., 2:]], -1)


def _grid(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Centres (A, 2) in input pixels and strides (A, 1) of all cells of all levels."""
    points, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(
            torch.arange(size[1] // stride) + 0.5, torch.arange(size[0] // stride) + 0.5, indexing="ij"
        )
        points.append(torch.stack([x, y], -1).reshape(-1, 2) * stride)
        strides.append(torch.full((len(points[-1]), 1), float(stride)))
    return torch.cat(points), torch.cat(strides)
