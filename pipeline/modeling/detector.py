"""The one interface of every detector: loss on a batch, candidates for everything else."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What is truly in one input picture. M = number of boxes."""

    boxes: Tensor  # (M, 4) float32 input-pixel xyxy
    labels: Tensor  # (M,) int64
    ignore: Tensor  # (M,) bool: neither object nor background

    def to(self, where: torch.device) -> "Target":
        """The same target on another device."""
        return Target(self.boxes.to(where), self.labels.to(where), self.ignore.to(where))


class Detector(nn.Module, ABC):
    """A detector of `classes` classes in uint8 RGB pictures.

    `forward` gives candidates before NMS: boxes (B, A, 4) in input-pixel xyxy and scores (B, A, C) in 0..1. It is the
    graph that is exported; `runtime.postprocess` makes detections of it everywhere.
    """

    origin = "random weights"  # what training starts from, for the log

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    @abstractmethod
    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """Loss terms of a batch of uint8 images (B, 3, H, W); their sum is what training minimises.

        What it draws by chance comes from torch's generator, which the loop seeds by the epoch.
        """

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Candidates of a batch of uint8 images (B, 3, H, W): boxes (B, A, 4) and scores (B, A, C)."""


def to_batch(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """(H, W, 3) uint8 pictures as a batch (B, 3, H, W): channels last, as they are and as convolutions like it."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
