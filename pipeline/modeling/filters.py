"""What convolutions have learned: the filters of the first one, and which filters never say anything."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.modeling.detector import Detector, to_batch

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.Mish)
STEADY = 1e-6  # a channel that varies less than this, relative to its largest value, is constant


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution, judged by the activation that follows it."""

    name: str
    filters: int
    dead: int  # never above 0, or the same everywhere


def first_filters(model: Detector) -> tuple[str, NDArray[np.float32]] | None:
    """Name and weights (N, D, k, k) of the first convolution, None where there is none."""
    for name, part in model.named_modules():
        if isinstance(part, nn.Conv2d):
            return name, np.asarray(part.weight.detach().float().cpu().numpy(), np.float32)
    return None


def layers(model: Detector, pictures: Sequence[NDArray[np.uint8]], batch_size: int) -> list[Layer]:
    """Every convolution that an activation follows, in the order in which they run, with its dead filters.

    Args:
        model: ready to predict.
        pictures: (H, W, 3) uint8 RGB of the input's size.
        batch_size: pictures a forward pass.
    """
    where, todo = next(model.parameters()).device, iter(pictures)
    low: dict[str, Tensor] = {}
    high: dict[str, Tensor] = {}
    with torch.inference_mode(), _watched(model, low, high):
        while batch := list(islice(todo, batch_size)):
            model(to_batch(batch).to(where))
    return [Layer(name, len(top), _dead(low[name], top)) for name, top in high.items()]


@contextmanager
def _watched(model: Detector, low: dict[str, Tensor], high: dict[str, Tensor]) -> Iterator[None]:
    """Keep the least and the largest value (N,) of each filter after its activation."""
    names = {part: name for name, part in model.named_modules()}
    latest: list[nn.Conv2d] = []

    def conv(part: nn.Module, _: object, __: object) -> None:
        assert isinstance(part, nn.Conv2d)  # noqa: S101 - only these are hooked
        latest[:] = [part]

    def activation(_: nn.Module, __: object, output: Any) -> None:
        if latest and output.ndim == 4 and output.shape[1] == latest[0].out_channels:
            name = names[latest[0]]
            least, most = output.amin((0, 2, 3)), output.amax((0, 2, 3))
            low[name] = torch.minimum(low.get(name, least), least)
            high[name] = torch.maximum(high.get(name, most), most)

    hooks = [part.register_forward_hook(conv) for part in names if isinstance(part, nn.Conv2d)]
    hooks += [part.register_forward_hook(activation) for part in names if isinstance(part, ACTIVATIONS)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _dead(low: Tensor, high: Tensor) -> int:
    return int(((high <= 0) | (high - low <= STEADY * high.abs())).sum())
