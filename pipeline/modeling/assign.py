"""Which anchor point answers for which object: task-aligned assignment (TOOD, Feng et al., ICCV 2021)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

from pipeline.modeling.detector import Target

TOPK = 10
ALPHA = 0.5  # weight of the class score in the alignment
BETA = 6.0  # weight of the IoU


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """What each of the A points of one picture should say. P = number of positive points."""

    quality: Tensor  # (A, C) target score: normalised alignment at the object's class, else 0
    background: Tensor  # (A,) bool: False for points whose class loss does not count (inside ignore regions)
    positive: Tensor  # (P,) indices of points
    boxes: Tensor  # (P, 4) the object's box, input-pixel xyxy


def assign(points: Tensor, boxes: Tensor, scores: Tensor, target: Target) -> Assigned:
    """Assign the points of one picture.

    Args:
        points: (A, 2) input pixels.
        boxes: (A, 4) predicted, input-pixel xyxy.
        scores: (A, C) predicted, 0..1.
        target: what is in the picture.
    """
    wanted, labels = target.boxes[~target.ignore], target.labels[~target.ignore]
    quality = torch.zeros_like(scores)
    background = ~within(points, target.boxes[target.ignore]).any(0)
    if not len(wanted):
        none = points.new_zeros(0, dtype=torch.long)
        return Assigned(quality, background, none, boxes.new_zeros(0, 4))
    inside = within(points, wanted)  # (M, A)
    overlap = box_iou(wanted, boxes) * inside
    alignment = scores[:, labels].T.pow(ALPHA) * overlap.pow(BETA)
    # Early on every overlap is near zero: a point close to the centre is then as good as any, and better than none.
    closeness = 1e-9 / (1 + (points[None] - (wanted[:, None, :2] + wanted[:, None, 2:]) / 2).square().sum(-1))
    ranked = torch.where(inside, alignment + closeness, alignment.new_zeros(()))
    value, index = ranked.topk(min(TOPK, len(points)), dim=1)
    chosen = torch.zeros_like(inside).scatter_(1, index, value > 0)
    owner = torch.where(chosen, overlap + closeness, overlap.new_full((), -1.0)).max(0)  # one object a point
    positive = torch.nonzero(owner.values >= 0).flatten()
    mine = owner.indices[positive]
    rank = alignment * chosen
    peak, best = rank.amax(1, keepdim=True).clamp_min(1e-9), (overlap * chosen).amax(1, keepdim=True)
    normalised = rank / peak * best
    quality[positive, labels[mine]] = normalised[mine, positive]
    background = background.clone()
    background[positive] = True
    return Assigned(quality, background, positive, wanted[mine])


def within(points: Tensor, boxes: Tensor) -> Tensor:
    """Which points lie in which boxes: (M, A) bool."""
    low = points[None] - boxes[:, None, :2]
    high = boxes[:, None, 2:] - points[None]
    return torch.cat([low, high], -1).amin(-1) > 0
