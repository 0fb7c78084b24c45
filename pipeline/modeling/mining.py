"""How `hog_svm` is trained: linear SVMs on windows, and hard negative mining (Dalal & Triggs, CVPR 2005).

A round draws pictures as the epochs of the other detectors do, adds their windows to those of the rounds before - the
ones that show no object where they are hardest - and solves the SVMs again.
"""

import math
import time
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.core.errors import SightlineError
from pipeline.core.params import TrainParams
from pipeline.core.progress import progress
from pipeline.modeling import ranks
from pipeline.modeling.detector import Target
from pipeline.modeling.hog_svm import AREA, FAR, KERNEL, NEAR, TEMPLATES, HogSvm, flat, shape_of
from pipeline.modeling.loader import Pictures, batches
from pipeline.modeling.loop import SCORE, OnEpoch, Trained, Validate
from pipeline.modeling.svm import linear_svm, platt

COST = 0.1  # of a window on the wrong side; 0.01 gives the same AP, and takes longer to solve
ROUNDS = 6  # at most; and train.epochs
PICTURES = 500  # a round, at most
SHOWN, HARD = 16, 8  # windows a picture and template, at most: those that show an object, and the hardest others


@dataclass(slots=True)
class Windows:
    """What a template is trained on. N = number of windows, D = numbers in one."""

    features: list[Tensor] = field(default_factory=list)  # (D,) each
    positive: list[bool] = field(default_factory=list)

    def add(self, features: list[Tensor], *, positive: bool) -> None:
        """Append windows that all show an object, or all show none."""
        self.features += features
        self.positive += [positive] * len(features)


@torch.no_grad()
def fit(model: HogSvm, pictures: Pictures, p: TrainParams, *, validate: Validate, on_epoch: OnEpoch) -> Trained:
    """As `loop.fit`, with a round of mining for an epoch. It takes minutes: a killed training begins anew.

    Args:
        model: fresh, on the CPU.
        pictures: decoded training pictures.
        p: section `train`; of it count `epochs`, `batch_size`, `seed` and `loop`.
        validate: figures on the validation split, after every round; `val/AP` chooses the best weights.
        on_epoch: called with each round's row and number, for live tracking.

    Raises:
        SightlineError: there is no picture, or this is one of several processes.
    """
    if ranks.count() > 1:
        raise SightlineError("train: hog_svm is trained by one process; set compute.processes=1, compute.engine=local")
    if not len(pictures):
        raise SightlineError("train: the training set holds no picture; see the split's summary")
    began = time.monotonic()
    model.sizes.copy_(torch.cat([template_sizes(pictures, label) for label in range(model.classes)]))
    held = [Windows() for _ in model.sizes]
    rows: list[dict[str, float]] = []
    found: list[dict[str, Tensor]] = []
    for number in progress(range(min(p.epochs, ROUNDS)), desc="train", unit=" rounds"):
        row = _round(model.eval(), pictures, p, number, held)
        rows.append(row | validate(model))
        found.append({name: value.clone() for name, value in model.state_dict().items()})
        on_epoch(rows[-1], number + 1)
    best = max(range(len(rows)), key=lambda i: rows[i][SCORE])
    return Trained(found[best], found[-1], best + 1, rows, time.monotonic() - began)


def _round(model: HogSvm, pictures: Pictures, p: TrainParams, number: int, held: list[Windows]) -> dict[str, float]:
    """Mine and solve; the round's row of the curves."""
    chance = torch.Generator().manual_seed(p.seed) if number == 0 else None
    drawn = batches(pictures, p.loop, batch_size=p.batch_size, seed=p.seed, epoch=number, plain=False)
    for images, targets in islice(drawn, math.ceil(PICTURES / p.batch_size)):
        _mine(model, images, targets, held, chance)
    hinges = [_solve(model, template, windows) for template, windows in enumerate(held)]
    count = sum(len(windows.positive) for windows in held)
    return {"epoch": number + 1, "loss": sum(hinges) / len(hinges), "windows": count}


def _mine(
    model: HogSvm, images: Tensor, targets: list[Target], held: list[Windows], chance: torch.Generator | None
) -> None:
    """Add a batch's windows; those without an object are drawn by chance before there are templates."""
    maps = model.backbone(images)
    margins = flat(model.margins(maps))
    if chance is not None:
        margins = torch.rand(margins.shape, generator=chance)
    for i, target in enumerate(targets):
        padded = [functional.pad(m[i], (KERNEL // 2,) * 4) for m in maps]
        overlap, ignored = model.overlap(target)
        hardness = margins[i].masked_fill((overlap >= FAR) | ignored[:, None], -2.0)
        for template, windows in enumerate(held):
            shape = shape_of(model.sizes[template])
            for value, least, most in ((overlap, NEAR, SHOWN), (hardness, -1.0, HARD)):
                best = value[:, template].topk(min(most, len(value)))
                places = best.indices[best.values >= least].tolist()
                windows.add([_cut(padded, place, shape) for place in places], positive=value is overlap)


def _solve(model: HogSvm, template: int, windows: Windows) -> float:
    """Set a template's filter and chances to its windows; the mean squared hinge that is left."""
    positive = torch.tensor(windows.positive)
    if not positive.any():
        return 0.0  # the class has no object: the filter stays silent
    features = torch.stack(windows.features)
    weight, bias = linear_svm(features, positive, COST)
    height, width = shape_of(model.sizes[template])
    top, left = (KERNEL - height) // 2, (KERNEL - width) // 2
    held = model.templates.weight[template, :, top : top + height, left : left + width]
    held.copy_(weight.reshape(held.shape))
    model.templates.bias[template] = bias  # type: ignore[index]  # it has one
    margins = features @ weight + bias
    model.slope[template], model.offset[template] = platt(margins, positive)
    return float((1 - torch.where(positive, margins, -margins)).clamp_min(0).square().mean())


def template_sizes(pictures: Pictures, label: int) -> Tensor:
    """Width and height in cells (TEMPLATES, 2) of a class's templates: quantiles of the aspect ratio, one area."""
    kept = [b[(c == label) & ~i] for b, c, i in zip(pictures.boxes, pictures.labels, pictures.ignore, strict=True)]
    sides = np.concatenate([b[:, 2:] - b[:, :2] for b in kept])
    aspects = sides[:, 0] / sides[:, 1] if len(sides) else np.ones(1)
    chosen = np.quantile(aspects, (np.arange(TEMPLATES) + 0.5) / TEMPLATES)
    return torch.tensor(np.stack([np.sqrt(AREA * chosen), np.sqrt(AREA / chosen)], 1), dtype=torch.float32)


def _cut(padded: list[Tensor], place: int, shape: tuple[int, int]) -> Tensor:
    """A window's blocks, flattened: `shape` (height, width) around a place that counts through all levels."""
    for level in padded:
        height, width = level.shape[1] - KERNEL + 1, level.shape[2] - KERNEL + 1
        if place < height * width:
            y, x = place // width + (KERNEL - shape[0]) // 2, place % width + (KERNEL - shape[1]) // 2
            return level[:, y : y + shape[0], x : x + shape[1]].flatten()
        place -= height * width
    raise IndexError(place)
