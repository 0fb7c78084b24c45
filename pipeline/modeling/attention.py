"""Which pixels a score depends on: the gradient of a candidate's score, averaged over noisy copies of the picture.

SmoothGrad (Smilkov et al., 2017): a single gradient of a network of ReLUs flickers from pixel to pixel, the mean does
not. How much of it lies in the object's box is the energy-based pointing game (Wang et al., Score-CAM, CVPRW 2020).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou

from pipeline.modeling.detector import Detector, to_batch

COPIES = 8
NOISE = 12.0  # standard deviation in levels 0..255: a few per cent of them, where the paper has 10 to 20
NEAR = 0.5  # IoU from which on a candidate answers for a box
BLUR = 0.01  # of the input's width: what is finer cannot be seen


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """What moves one score."""

    heat: NDArray[np.float32]  # (H, W) shares of it; they sum to 1
    score: float  # of the candidate, without noise
    inside: float  # share of the heat in the box


def attend(model: Detector, image: NDArray[np.uint8], box: NDArray[np.float32], label: int) -> Attention | str:
    """What moves the score of the best candidate near a box, or why nothing can be said.

    Args:
        model: ready to predict.
        image: (H, W, 3) uint8 RGB of the input's size.
        box: (4,) input-pixel xyxy.
        label: the class that is asked about.
    """
    model.requires_grad_(requires_grad=False)
    where = next(model.parameters()).device
    plain = to_batch([image]).to(where).float()
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.normal(0, NOISE, (COPIES, *plain.shape[1:])).astype(np.float32)).to(where)
    with torch.no_grad():
        boxes, scores = model(plain)
    place = _nearest(boxes[0], scores[0, :, label], torch.from_numpy(box).to(where))
    noisy = (plain + noise).clamp(0, 255).contiguous(memory_format=torch.channels_last).requires_grad_()
    moved = model(noisy)[1][:, place, label]
    if not moved.requires_grad:
        return "the model is not differentiable"
    (gradient,) = torch.autograd.grad(moved.sum(), noisy, allow_unused=True, materialize_grads=True)
    heat = cv2.GaussianBlur(gradient.abs().sum((0, 1)).cpu().numpy(), (0, 0), BLUR * image.shape[1])
    if not heat.sum() > 0:
        return "no pixel moves the score"
    shares = np.asarray(heat / heat.sum(), np.float32)
    return Attention(shares, float(scores[0, place, label]), _within(shares, box))


def _nearest(boxes: Tensor, scores: Tensor, box: Tensor) -> int:
    """Of candidates (A, 4) with scores (A,): the surest of those near a box (4,), or else the nearest."""
    near = box_iou(boxes.float(), box[None])[:, 0]
    if (near >= NEAR).any():
        return int(torch.where(near >= NEAR, scores.float(), -1.0).argmax())
    return int(near.argmax())


def _within(heat: NDArray[np.float32], box: NDArray[np.float32]) -> float:
    """The share of (H, W) in a box; pixels count by their centres."""
    rows, columns = (np.arange(n) + 0.5 for n in heat.shape)
    left, top, right, bottom = box
    inside = ((rows >= top) & (rows <= bottom))[:, None] & ((columns >= left) & (columns <= right))
    return float(heat[inside].sum())
