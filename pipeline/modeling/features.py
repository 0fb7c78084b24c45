"""What a detector makes of a picture beside its boxes: the embedding of its backbone, and the view in the mirror."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.core.types import Detections
from pipeline.modeling.detector import Detector
from pipeline.modeling.predict import Item, candidates
from pipeline.runtime.contract import OutputContract
from pipeline.runtime.postprocess import select
from pipeline.runtime.preprocess import letterbox


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One picture as the detector sees it. D = channels of all maps of the backbone."""

    frame_id: str
    found: Detections  # source pixels
    mirrored: Detections  # found in the mirror image, put back into source pixels
    embedding: NDArray[np.float32]  # (D,) mean of each channel over the picture


def views(
    model: Detector, items: Iterable[Item], *, target: tuple[int, int], rule: OutputContract, batch_size: int
) -> Iterator[View]:
    """Every picture as it is and mirrored, in one pass each.

    Args:
        model: ready to predict.
        items: frame id and (H, W, 3) uint8 RGB; read lazily, a batch at a time.
        target: width and height of the input, pixels.
        rule: score floor, NMS IoU and number kept.
        batch_size: pictures a forward pass.
    """
    todo = iter(items)
    while batch := list(islice(todo, batch_size)):
        placed = [letterbox(image, target) for _, image in batch]
        inputs = [image for image, _ in placed]
        boxes, scores, embedded = _seen(model, inputs)
        flipped, flipped_scores = candidates(model, [np.ascontiguousarray(image[:, ::-1]) for image in inputs])
        flipped[..., [0, 2]] = target[0] - flipped[..., [2, 0]]
        for i, (frame_id, image) in enumerate(batch):
            where = placed[i][1], (image.shape[1], image.shape[0])
            found = select(boxes[i], scores[i], rule, *where)
            yield View(frame_id, found, select(flipped[i], flipped_scores[i], rule, *where), embedded[i])


def _seen(
    model: Detector, inputs: list[NDArray[np.uint8]]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Boxes, scores and embeddings (B, D) of letterboxed pictures, from one pass."""
    maps: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Any) -> None:
        maps.extend(flat(output))

    hook = backbone(model).register_forward_hook(keep)
    try:
        boxes, scores = candidates(model, inputs)
    finally:
        hook.remove()
    with torch.inference_mode():
        pooled = torch.cat([m.float().mean(dim=(2, 3)) for m in maps], dim=1)
    return boxes, scores, np.asarray(pooled.cpu().numpy(), np.float32)


def backbone(model: Detector) -> nn.Module:
    """The part that every detector of ours calls `backbone`; it gives a list or a mapping of maps (B, C, H, W)."""
    found: nn.Module = next(part for name, part in model.named_modules() if name.rpartition(".")[2] == "backbone")
    return found


def flat(value: Any) -> list[Tensor]:
    """All maps (B, D, h, w) of numbers in nested lists and mappings, in order."""
    if isinstance(value, Tensor):
        return [value] if value.ndim == 4 and value.is_floating_point() else []
    if isinstance(value, Mapping):
        return flat(list(value.values()))
    return [m for item in value for m in flat(item)] if isinstance(value, list | tuple) else []
