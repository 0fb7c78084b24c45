"""Whether exported files give what PyTorch gives: candidates within tolerance, and the same detections."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.boxes import iou
from pipeline.core.errors import DataError
from pipeline.core.params import ExportParams
from pipeline.core.types import Detections
from pipeline.modeling.judge import BATCH
from pipeline.modeling.onnx_graph import BOXES, SCORES
from pipeline.runtime.contract import Contract, OutputContract
from pipeline.runtime.engines.engine import Candidates
from pipeline.runtime.postprocess import CANDIDATES, select
from pipeline.runtime.preprocess import Placement
from pipeline.runtime.session import open_session

Image = NDArray[np.uint8]


def parity(
    infer: Callable[[list[Image]], Candidates],
    folders: Mapping[str, Contract],
    root: Path,
    images: Sequence[Image],
    p: ExportParams,
) -> dict[str, Any]:
    """Every fp32 artifact of every target against PyTorch, in batches and one by one.

    Artifacts for TensorRT need an engine of the device first, and are left out.

    Args:
        infer: the trained detector's candidates of a batch.
        folders: contract by target.
        root: the export, with a folder a target.
        images: letterboxed (H, W, 3) uint8 RGB.
        p: section `export`.
    """
    expected = _in_batches(infer, images, BATCH)
    runs = [
        {"target": target, "artifact": name, "batch": batch} | compare(expected, root / target, name, images, batch, p)
        for target, contract in folders.items()
        for name, it in contract.artifacts.items()
        if it.precision == "fp32" and it.engine != "tensorrt"
        for batch in ([it.batch] if it.batch else sorted({1, min(BATCH, len(images))}, reverse=True))
    ]
    largest: list[Any] = [run[name] for run in runs for name in (BOXES, SCORES)]
    return {
        "passed": all(run["passed"] for run in runs),
        "frames": len(images),
        "max_abs_difference": None if None in largest else max(largest, default=None),
        "detections_equal": all(run["detections_equal"] for run in runs),
        "rtol": p.rtol,
        "atol": p.atol,
        "runs": runs,
    }


def compare(
    expected: Candidates, folder: Path, artifact: str, images: Sequence[Image], batch: int, p: ExportParams
) -> dict[str, Any]:
    """One artifact at one batch size against PyTorch: the largest differences, and whether it passed."""
    failed = {BOXES: None, SCORES: None, "detections_equal": False, "passed": False}
    try:
        session = open_session(folder, artifact, threads=1)
        found = _in_batches(lambda part: session.candidates(np.stack(part).transpose(0, 3, 1, 2)), images, batch)
    except DataError as error:
        print(f"export: {error}", file=sys.stderr, flush=True)  # the engine's words differ between machines
        return failed | {"reason": "the file does not run, or does not give what its contract says"}
    if found[0].shape != expected[0].shape:
        return failed | {"reason": "another number of candidates"}
    pairs = list(zip(expected, found, strict=True))
    near = all(np.allclose(ours, theirs, p.rtol, p.atol) for ours, theirs in pairs)
    same = near and same_detections(expected, found, session.contract, p)
    figures = {name: _largest(*pair) for name, pair in zip((BOXES, SCORES), pairs, strict=True)}
    reason = "" if same else "detections differ" if near else "candidates differ by more than the tolerance"
    return {**figures, "detections_equal": same, "passed": same, "reason": reason}


def _in_batches(infer: Callable[[list[Image]], Candidates], images: Sequence[Image], batch: int) -> Candidates:
    found = [infer(list(images[i : i + batch])) for i in range(0, len(images), batch)]
    boxes, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return boxes, scores


def _largest(a: NDArray[np.float32], b: NDArray[np.float32]) -> float | None:
    """The largest difference, three digits; None where a value is not finite."""
    value = float(np.abs(a - b).max())
    return float(f"{value:.3g}") if np.isfinite(value) else None


def same_detections(expected: Candidates, found: Candidates, contract: Contract, p: ExportParams) -> bool:
    """Whether every detection at or above its operating threshold has its like on the other side, in every frame."""
    whole, size = Placement(1.0, 0, 0), (contract.input.width, contract.input.height)
    thresholds = np.array([contract.thresholds[name] for name in contract.classes])
    rule = contract.output
    for one, other in zip(zip(*expected, strict=True), zip(*found, strict=True), strict=True):
        a, b = (select(boxes, scores, rule, whole, size) for boxes, scores in (one, other))
        cut = max(_first_left_out(one[1], a, rule), _first_left_out(other[1], b, rule))
        if not all(
            _has_all(x, y, np.maximum(thresholds, _above(cut, p)), rule.nms_iou, p) for x, y in ((a, b), (b, a))
        ):
            return False
    return True


def _has_all(
    wanted: Detections, held: Detections, thresholds: NDArray[np.float64], nms_iou: float, p: ExportParams
) -> bool:
    """Whether each detection wanted is held, or one that NMS may keep instead where scores are as good as equal."""
    seen = wanted.scores >= thresholds[wanted.labels]
    near = iou(wanted.boxes[seen], held.boxes) >= nms_iou - p.rtol
    strong = _above(held.scores[None], p) >= wanted.scores[seen, None]
    labels = wanted.labels[seen, None] == held.labels[None]
    return bool((near & strong & labels).any(1).all())


def _above(score: Any, p: ExportParams) -> Any:
    """A score, or scores, and the tolerance on top."""
    return score * (1 + p.rtol) + p.atol


def _first_left_out(scores: NDArray[np.float32], found: Detections, rule: OutputContract) -> float:
    """Best score that the limits on candidates and on detections may have left out; chance decides near it."""
    ranked = np.sort(scores, axis=None)[::-1]
    candidate = float(ranked[CANDIDATES]) if len(ranked) > CANDIDATES else 0.0
    return max(candidate, float(found.scores[-1]) if len(found) == rule.max_detections else 0.0)
