"""Detections of a trained detector, through the same letterbox and NMS that the edge uses."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.core.params import EvaluateParams
from pipeline.core.types import Detections
from pipeline.modeling.detector import Detector, to_batch
from pipeline.modeling.device import device, on_device
from pipeline.modeling.zoo import load
from pipeline.runtime.contract import OutputContract
from pipeline.runtime.postprocess import select
from pipeline.runtime.preprocess import letterbox

Item = tuple[str, NDArray[np.uint8]]


def rule_of(p: EvaluateParams) -> OutputContract:
    """What becomes of the detector's boxes and scores, in the benchmark as on the edge: section `evaluate`."""
    return OutputContract(
        boxes="boxes",
        scores="scores",
        score_floor=p.score_floor,
        nms_iou=p.nms_iou,
        max_detections=p.max_detections,
    )


def predict(
    weights: Path, items: Iterable[Item], *, target: tuple[int, int], rule: OutputContract, batch_size: int
) -> Iterator[tuple[str, Detections]]:
    """Detections of the detector trained into the folder `weights`.

    Args:
        weights: folder with `model.json` and `best.safetensors`.
        items: frame id and (H, W, 3) uint8 RGB; read lazily, a batch at a time.
        target: width and height of the input, pixels.
        rule: score floor, NMS IoU and number kept.
        batch_size: pictures a forward pass.

    Yields:
        frame id and detections in source pixels, in the order of `items`.
    """
    model = on_device(load(weights), device())
    yield from predict_with(model, items, target=target, rule=rule, batch_size=batch_size)


def predict_with(
    model: Detector, items: Iterable[Item], *, target: tuple[int, int], rule: OutputContract, batch_size: int
) -> Iterator[tuple[str, Detections]]:
    """As `predict`, with a detector that is already there."""
    todo = iter(items)
    while batch := list(islice(todo, batch_size)):
        placed = [letterbox(image, target) for _, image in batch]
        boxes, scores = candidates(model, [image for image, _ in placed])
        for i, (frame_id, image) in enumerate(batch):
            size = image.shape[1], image.shape[0]
            yield frame_id, select(boxes[i], scores[i], rule, placed[i][1], size)


def candidates(model: Detector, images: list[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes (B, A, 4) input-pixel xyxy and scores (B, A, C) of letterboxed (H, W, 3) uint8 pictures."""
    batch = to_batch(images)
    where = next(model.parameters()).device
    with torch.inference_mode():
        boxes, scores = model(batch.to(where))
    return _array(boxes), _array(scores)


def _array(value: Tensor) -> NDArray[np.float32]:
    return np.asarray(value.float().cpu().numpy(), np.float32)
