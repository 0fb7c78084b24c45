"""What fewer bits cost: AP on validation frames, and how far the candidates move. Everything runs in the runtime."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.types import Truth
from pipeline.io.coco_eval import coco_scores
from pipeline.io.files import sha256
from pipeline.runtime.contract import Artifact, Contract
from pipeline.runtime.engines.engine import Candidates
from pipeline.runtime.engines.onnx import OnnxEngine
from pipeline.runtime.files import Model
from pipeline.runtime.postprocess import select
from pipeline.runtime.preprocess import Placement
from pipeline.runtime.session import Session

BATCH = 8
Run = Callable[[NDArray[np.uint8]], Candidates]  # of a batch (B, 3, H, W)


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """Validation frames with their truth. N = number of frames."""

    contract: Contract  # of the model; its artifacts do not count
    batch: NDArray[np.uint8]  # (N, 3, H, W) letterboxed
    placements: Sequence[Placement]  # N of them
    sizes: Sequence[tuple[int, int]]  # N of them: width and height of the source
    truths: Sequence[Truth]  # N of them

    def run(self, graph: bytes) -> Run:
        """An ONNX graph that no folder holds yet, on one thread, so that sums come out the same everywhere."""
        artifact = Artifact(
            engine="onnxruntime", precision="fp32", batch=0, model="graph.onnx", files={"graph.onnx": sha256(graph)}
        )
        contract = self.contract.model_copy(update={"artifacts": {"graph": artifact}, "default": "graph"})
        model = Model(Path(), "graph", contract, {"graph.onnx": graph})
        return Session(model, OnnxEngine(model, 1, 1)).candidates

    def ap(self, run: Run, frames: Sequence[int] | None = None) -> float:
        """COCO's AP, 0..100, of what a model finds in the frames, or in some of them by position."""
        chosen = range(len(self.batch)) if frames is None else frames
        found = []
        for start in range(0, len(chosen), BATCH):
            part = list(chosen[start : start + BATCH])
            for i, boxes, scores in zip(part, *run(self.batch[part]), strict=True):
                found.append(select(boxes, scores, self.contract.output, self.placements[i], self.sizes[i]))
        scores_of, _ = coco_scores([self.truths[i] for i in chosen], found, self.contract.classes)
        return 100 * scores_of.get("AP", 0.0)


def damage(expected: Candidates, found: Candidates) -> float:
    """How far candidates are from what they should be: mean change of score plus mean shift of a side.

    A shift is measured in mean sides of its box. Candidates count by their score, so that background counts little.
    """
    weight = np.maximum(expected[1].max(-1), found[1].max(-1))
    score = np.abs(expected[1] - found[1]).max(-1)
    side = np.maximum((expected[0][..., 2:] - expected[0][..., :2]).mean(-1), 1.0)
    shift = np.abs(expected[0] - found[0]).mean(-1) / side
    return float((weight * (score + shift)).sum() / max(float(weight.sum()), 1e-9))
