"""A universal adversarial patch: one small picture that, put on objects, hides them from the detector.

Projected gradient descent (Madry et al., ICLR 2018) on a patch that all objects share (Brown et al., 2017; Thys et al.,
CVPR workshops 2019). It measures how far an attacker with the weights gets by this means; it is no bound on what a
better attack could do, and no defence.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou

from pipeline.modeling.detector import Detector

SIDE = 32  # pixels of the patch, which is stretched to each object
LEAST = 4  # pixels of the input: a smaller patch shows nothing
STEP = 8.0  # levels of 0..255 a step, falling to nothing
NEAR = 0.3  # IoU from which on a candidate speaks for an object
BATCH = 8

Patch = NDArray[np.uint8]  # (SIDE, SIDE, 3) RGB


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A letterboxed picture and the objects that get a patch. M = number of objects."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    boxes: NDArray[np.float32]  # (M, 4) input-pixel xyxy
    labels: NDArray[np.int64]  # (M,)


def sides(boxes: NDArray[np.float32], share: float) -> NDArray[np.int64]:
    """Side in pixels (M,) of the square patch on each box: at most `share` of its area, and within it."""
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).astype(np.float64)
    side = np.minimum(np.sqrt(share * size.prod(axis=1)), size.min(axis=1))
    return np.asarray(np.floor(side), np.int64)


def random_patch(seed: int) -> Patch:
    """Noise of the same size: what an object loses by being covered at all."""
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def worn(scene: Scene, patch: Patch, share: float) -> NDArray[np.uint8]:
    """The scene's picture with the patch in the middle of each box."""
    image = _dressed(_plane(scene.image), _plane(patch), scene.boxes, share)
    return image.round().byte().permute(1, 2, 0).contiguous().numpy()


def train_patch(model: Detector, scenes: list[Scene], share: float, steps: int, seed: int) -> Patch | None:
    """The patch that lowers the scores of the objects that wear it.

    Args:
        model: ready to predict, in whose input the scenes lie.
        scenes: at least one, each with an object.
        share: of the box's area, at most.
        steps: of the descent.
        seed: of the start and of the order of the scenes.

    Returns:
        the patch; None where no gradient reaches the picture through this model.
    """
    rng = np.random.default_rng(seed)
    where = next(model.parameters()).device
    patch = _plane(random_patch(seed)).to(where)
    model.requires_grad_(requires_grad=False)
    for step in range(steps):
        chosen = [scenes[i] for i in rng.permutation(len(scenes))[:BATCH]]
        gradient = _gradient(model, chosen, patch, share)
        if gradient is None:
            return None
        patch = (patch - STEP * (1 - step / steps) * gradient.sign()).clamp(0, 255)
    return patch.round().byte().permute(1, 2, 0).contiguous().cpu().numpy()


def _gradient(model: Detector, scenes: list[Scene], patch: Tensor, share: float) -> Tensor | None:
    """Of the objects' confidence with respect to the patch; None where there is none."""
    patch = patch.clone().requires_grad_()
    images = [_dressed(_plane(s.image).to(patch.device), patch, s.boxes, share) for s in scenes]
    boxes, scores = model(torch.stack(images).contiguous(memory_format=torch.channels_last))
    if not scores.requires_grad:
        return None
    found = [_confidence(b, s, scene) for b, s, scene in zip(boxes, scores, scenes, strict=True)]
    (gradient,) = torch.autograd.grad(torch.cat(found).sum(), patch, allow_unused=True, materialize_grads=True)
    return gradient


def _confidence(boxes: Tensor, scores: Tensor, scene: Scene) -> Tensor:
    """Of each object (M,), the soft maximum of the logits of the candidates (A, ...) that lie on it."""
    truth = torch.from_numpy(scene.boxes).to(boxes.device)
    logits = torch.logit(scores.float(), 1e-6)[:, torch.from_numpy(scene.labels).to(boxes.device)]
    near = box_iou(boxes.detach().float(), truth) >= NEAR
    return torch.logsumexp(logits.masked_fill(~near, -20.0), dim=0)


def _dressed(image: Tensor, patch: Tensor, boxes: NDArray[np.float32], share: float) -> Tensor:
    """A (3, H, W) float picture with the (3, SIDE, SIDE) patch on every box, differentiable in the patch."""
    image = image.clone()
    for box, side in zip(boxes, sides(boxes, share).tolist(), strict=True):
        left, top = (int(v) for v in np.round((box[:2] + box[2:] - side) / 2))
        left, top = (
            min(max(v, 0), limit - side) for v, limit in zip((left, top), (image.shape[2], image.shape[1]), strict=True)
        )
        if side >= LEAST:
            grid = _stretch(side).to(patch)
            image[:, top : top + side, left : left + side] = grid @ patch @ grid.T
    return image


def _stretch(side: int) -> Tensor:
    """The linear map (side, SIDE) that averages, or repeats, the pixels of a row of the patch."""
    edges = torch.linspace(0, SIDE, side + 1)
    cell = torch.arange(SIDE)
    share = (torch.minimum(edges[1:, None], cell + 1) - torch.maximum(edges[:-1, None], cell)).clamp(min=0)
    return share / share.sum(dim=1, keepdim=True)


def _plane(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()
