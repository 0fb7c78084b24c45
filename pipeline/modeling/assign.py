"""Which anchor point answers for which object: task-aligned assignment (TOOD, Feng et al., ICCV 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import box_iou

from pipeline.modeling.detector import Target

TOPK = 10
ALPHA = 0.5  # weight of the class score in the alignment
BETA = 6.0  # weight of the IoU


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """What each of the A points of each of the B pictures should say. P = number of positive points of all pictures."""

    quality: Tensor  # (B, A, C) target score: normalised alignment at the object's class, else 0
    background: Tensor  # (B, A) bool: False for points whose class loss does not count (inside ignore regions)
    positive: Tensor  # (B, A) bool: answers for an object
    boxes: Tensor  # (P, 4) that object's box, input-pixel xyxy


def assign(points: Tensor, boxes: Tensor, scores: Tensor, targets: Sequence[Target]) -> Assigned:
    """Assign the points of a batch, all pictures at once: their objects are filled up to the largest number.

    Args:
        points: (A, 2) input pixels.
        boxes: (B, A, 4) predicted, input-pixel xyxy.
        scores: (B, A, C) predicted, 0..1.
        targets: what is in each picture.
    """
    wanted = _filled([t.boxes[~t.ignore] for t in targets])  # (B, M, 4)
    labels = _filled([t.labels[~t.ignore] for t in targets])  # (B, M)
    inside = within(points, wanted)  # (B, M, A), nowhere in what fills up
    overlap = torch.stack([box_iou(w, b) for w, b in zip(wanted, boxes, strict=True)]) * inside
    said = scores.transpose(1, 2).gather(1, labels[..., None].expand(-1, -1, len(points)))
    alignment = said.pow(ALPHA) * overlap.pow(BETA)
    # Early on every overlap is near zero: a point close to the centre is then as good as any, and better than none.
    centres = (wanted[..., :2] + wanted[..., 2:]) / 2
    closeness = 1e-9 / (1 + (points - centres[:, :, None]).square().sum(-1))
    ranked = torch.where(inside, alignment + closeness, alignment.new_zeros(()))
    value, index = ranked.topk(min(TOPK, len(points)), dim=2)
    chosen = torch.zeros_like(inside).scatter_(2, index, value > 0)
    owner = torch.where(chosen, overlap + closeness, overlap.new_full((), -1.0)).max(1)  # one object a point
    positive, mine = owner.values >= 0, owner.indices
    rank = alignment * chosen
    peak, best = rank.amax(2, keepdim=True).clamp_min(1e-9), (overlap * chosen).amax(2, keepdim=True)
    normalised = (rank / peak * best).gather(1, mine[:, None]).squeeze(1) * positive
    quality = torch.zeros_like(scores).scatter_(2, labels.gather(1, mine)[..., None], normalised[..., None])
    ignored = within(points, _filled([t.boxes[t.ignore] for t in targets])).any(1)
    return Assigned(
        quality, ~ignored | positive, positive, wanted.gather(1, mine[..., None].expand(-1, -1, 4))[positive]
    )


def _filled(values: Sequence[Tensor]) -> Tensor:
    """(B, M, ...) of tensors (M_b, ...), zeros where a picture has fewer; at least one."""
    whole = pad_sequence(list(values), batch_first=True)
    return whole if whole.shape[1] else whole.new_zeros(len(values), 1, *whole.shape[2:])


def within(points: Tensor, boxes: Tensor) -> Tensor:
    """Which points (A, 2) lie in which boxes (..., M, 4): (..., M, A) bool."""
    low = points - boxes[..., None, :2]
    high = boxes[..., None, 2:] - points
    return torch.cat([low, high], -1).amin(-1) > 0
