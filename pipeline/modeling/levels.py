"""The maps in which a detector looks for objects: what each shows, and how much of the picture it sees.

The receptive field is all that can reach a unit. The effective one is what moves it noticeably, and much smaller (Luo
et al., Understanding the Effective Receptive Field in Deep Convolutional Neural Networks, NIPS 2016).
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from pipeline.modeling.detector import Detector, to_batch
from pipeline.modeling.features import backbone, flat
from pipeline.modeling.filters import ACTIVATIONS

Pictures = Sequence[NDArray[np.uint8]]

HEAD = "head"  # what every detector of ours that has one calls it
NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d, nn.GroupNorm, nn.LayerNorm)
NOTICEABLE = 1 - 0.9545  # of the largest gradient: two standard deviations of a Gaussian, as in the paper
TRACE = 1e-4  # of the largest gradient: less may be left of what cancels, where features are no convolutions
WHITE = 255.0


@dataclass(frozen=True, slots=True)
class Level:
    """One map. Sizes are in input pixels."""

    stride: int
    channels: int
    width: int  # cells
    height: int
    field: tuple[int, int]  # width and height of the receptive field, at most the whole input
    effective: float  # side of a square of the effective receptive field's area; 0 where nothing moves the unit


class _Reached(Exception):  # noqa: N818 - no error: what comes after the maps need not be computed
    pass


def maps(model: Detector, images: Tensor) -> list[Tensor]:
    """The maps (B, D, h, w) that the head reads, of images (B, 3, H, W); without one, those that the backbone gives."""
    found: list[Tensor] = []

    def keep(value: Any) -> None:
        found.extend(flat(value))
        raise _Reached

    head = next((part for name, part in model.named_modules() if name.rpartition(".")[2] == HEAD), None)
    if head is not None:
        hook = head.register_forward_pre_hook(lambda _, args: keep(args))
    else:
        hook = backbone(model).register_forward_hook(lambda _, __, output: keep(output))
    try:
        model(images)
    except _Reached:
        pass
    finally:
        hook.remove()
    return found


def levels(model: Detector, pictures: Pictures) -> list[Level]:
    """Every level, finest first.

    Args:
        model: ready to predict.
        pictures: (H, W, 3) uint8 RGB of the input's size, that the effective receptive fields are measured on.
    """
    height, width = pictures[0].shape[:2]
    where = next(model.parameters()).device
    seen = sensitivities(model, to_batch(pictures).to(where).float())
    white = torch.full((1, 3, height, width), WHITE)
    clear = sensitivities(transparent(model), white)
    fields = [extent((c > 0) | (s > TRACE * s.max())) for c, s in zip(clear, seen, strict=True)]
    with torch.no_grad():
        found = maps(model, white.to(where))
    return [
        Level(round(width / m.shape[3]), m.shape[1], m.shape[3], m.shape[2], field, side(s))
        for m, field, s in zip(found, fields, seen, strict=True)
    ]


def sensitivities(model: Detector, images: Tensor) -> list[NDArray[np.float64]]:
    """How much each pixel moves the unit in the middle of each level: mean over pictures of |gradient|, (H, W).

    Args:
        model: its parameters get no gradient.
        images: (B, 3, H, W) float32 levels 0..255.
    """
    model.requires_grad_(requires_grad=False)
    images = images.clone().requires_grad_()
    found = []
    for m in maps(model, images):
        middle = m[:, :, m.shape[2] // 2, m.shape[3] // 2].sum()
        found.append(_gradient(middle, images).abs().sum(1).double().mean(0).cpu().numpy())
    return found


def _gradient(value: Tensor, images: Tensor) -> Tensor:
    """Zero where nothing is differentiable."""
    if not value.requires_grad:
        return torch.zeros_like(images)
    (gradient,) = torch.autograd.grad(value, images, retain_graph=True, allow_unused=True, materialize_grads=True)
    return gradient


def extent(reached: NDArray[np.bool_]) -> tuple[int, int]:
    """Width and height of the part of (H, W) that is reached."""
    across, down = np.flatnonzero(reached.any(0)), np.flatnonzero(reached.any(1))
    if not len(across):
        return 0, 0
    return int(across[-1] - across[0] + 1), int(down[-1] - down[0] + 1)


def side(sensitivity: NDArray[np.float64]) -> float:
    """Square root of the number of pixels of (H, W) that move the unit noticeably."""
    return float(np.sqrt((sensitivity > NOTICEABLE * sensitivity.max()).sum()))


def transparent(model: Detector) -> Detector:
    """A copy through which everything that can pass does: plain means instead of learned weights and of maxima.

    Norms and activations are left out. All that is left is positive for a white picture, so that no two paths cancel,
    and computed in float64, in which no convolution takes a short cut through transforms that only nearly cancel.
    """
    clear = deepcopy(model).cpu().double()
    for module in list(clear.modules()):
        for name, child in module.named_children():
            if isinstance(child, (*NORMS, *ACTIVATIONS)):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode))
            elif isinstance(child, nn.Conv2d) and _depthwise(child):  # the same mean, many times as fast
                setattr(module, name, _mean_of(child))
            elif isinstance(child, nn.Conv2d | nn.Linear):
                nn.init.constant_(child.weight, 1 / child.weight[0].numel())
                child.register_forward_pre_hook(lambda _, args: (args[0].double(), *args[1:]))
                if child.bias is not None:
                    nn.init.zeros_(child.bias)
    return clear


def _mean_of(conv: nn.Conv2d) -> nn.AvgPool2d:
    assert not isinstance(conv.padding, str)  # noqa: S101 - `_depthwise` says so
    (height, width), (down, across), (above, left) = conv.kernel_size, conv.stride, conv.padding
    return nn.AvgPool2d((height, width), (down, across), (above, left))


def _depthwise(conv: nn.Conv2d) -> bool:
    return (
        conv.groups == conv.in_channels == conv.out_channels > 1
        and conv.dilation == (1, 1)
        and not isinstance(conv.padding, str)
    )
