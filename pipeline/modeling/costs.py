"""What a detector costs: parameters and multiply-adds of one picture, in all and by its parts."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.modeling.detector import Detector


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the whole network, whose name is empty, or of one of its parts."""

    name: str
    parameters: int
    macs: int  # multiply-adds of convolutions and matrix products; a norm, a ReLU or a sampled grid counts nothing


def costs(model: Detector, size: tuple[int, int]) -> list[Cost]:
    """The whole network first, then its parts in order; those that cost nothing are left out.

    Args:
        model: ready to predict.
        size: width and height of the input, pixels.
    """
    picture = torch.zeros(1, 3, size[1], size[0], dtype=torch.uint8, device=next(model.parameters()).device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(picture)
    counted, root = counter.get_flop_counts(), type(model).__name__
    parts = [
        Cost(name, parameters(part), sum(counted.get(f"{root}.{name}", {}).values()) // 2)
        for name, part in top_level(model)
    ]
    whole = Cost("", parameters(model), counter.get_total_flops() // 2)  # a multiply-add is two operations
    return [whole, *(part for part in parts if part.parameters or part.macs)]


def parameters(module: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(p.numel() for p in module.parameters())


def top_level(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The parts that a network is made of, by name; a wrapper around a single part is looked into."""
    children = list(model.named_children())
    if len(children) == 1 and any(True for _ in children[0][1].children()):
        name, only = children[0]
        yield from top_level(only, f"{prefix}{name}.")
    else:
        yield from ((f"{prefix}{name}", child) for name, child in children)
