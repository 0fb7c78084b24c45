"""An exported model at work, from pictures to detections, whichever engine runs it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.types import Detections
from pipeline.runtime.contract import Contract
from pipeline.runtime.engines.engine import Candidates, Engine
from pipeline.runtime.engines.onnx import OnnxEngine
from pipeline.runtime.engines.openvino import OpenVinoEngine
from pipeline.runtime.engines.tensorrt import TensorRtEngine
from pipeline.runtime.files import Model, read_model
from pipeline.runtime.postprocess import calibrated, select
from pipeline.runtime.preprocess import letterbox
from pipeline.runtime.signature import guard

# Each takes the model, the threads and the streams; its library is imported when it is made.
ENGINES: Mapping[str, Callable[[Model, int, int], Engine]] = {
    "onnxruntime": OnnxEngine,
    "openvino": OpenVinoEngine,
    "tensorrt": TensorRtEngine,
}

Image = NDArray[np.uint8]


def open_session(folder: Path, artifact: str = "", threads: int = 0, streams: int = 1) -> "Session":
    """A model ready to run.

    Args:
        folder: an export or bundle, with `contract.json` and the files that it names.
        artifact: which of the contract's; without a name its default.
        threads: for one picture; 0 for one a core that this process may use.
        streams: threads of the caller that will run pictures at the same time.

    Raises:
        DataError: the contract or a file is not as it must be, or the engine cannot load it; nothing that fails its
            check is handed to an engine.
        SightlineError: the engine's library is not installed.
    """
    guard(folder)
    model = read_model(folder, artifact)
    return Session(model, ENGINES[model.artifact.engine](model, threads, streams))


class Session:
    """A model with its engine. Several threads may use it at once.

    Attributes:
        contract: what the model expects and gives.
        artifact: the name of what runs.
        engine: what runs it.
    """

    def __init__(self, model: Model, engine: Engine) -> None:
        self.contract: Contract = model.contract
        self.artifact = model.name
        self.engine = engine
        self._model = model.path, model.artifact.batch

    @property
    def chosen(self) -> str:
        """Library, precision and threads that were chosen, in words."""
        return self.engine.chosen

    def detect(self, image: Image) -> Detections:
        """Detections in one (H, W, 3) uint8 RGB picture, in its own pixels, from the contract's score floor up.

        Raises:
            DataError: the picture is none, or the model is not as its contract says.
        """
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        """Detections in several pictures, which may differ in size; see `detect`."""
        size = self.contract.input.width, self.contract.input.height
        placed = [letterbox(_checked(image), size) for image in images]
        if not placed:
            return []
        boxes, scores = self.candidates(np.stack([picture for picture, _ in placed]).transpose(0, 3, 1, 2))
        rule = self.contract.output
        return [
            select(found, score, rule, placement, (image.shape[1], image.shape[0]))
            for found, score, (_, placement), image in zip(boxes, scores, placed, images, strict=True)
        ]

    def calibrated(self, scores: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """What scores (N,) of `labels` (N,) mean: the IoU with an object that can be expected.

        A class whose scores were not calibrated keeps them.
        """
        contract = self.contract
        return calibrated(scores, labels, [contract.confidence.get(name, ()) for name in contract.classes])

    def candidates(self, batch: NDArray[np.uint8]) -> Candidates:
        """Candidates before NMS of a batch (B, 3, H, W), in runs of as many pictures as the model takes.

        Raises:
            DataError: the model cannot run on this batch, or what it gives is not what its contract says.
        """
        path, fixed = self._model
        whole = np.ascontiguousarray(batch)
        step = fixed or len(whole)
        runs = [self.engine.run(_filled(whole[i : i + step], step)) for i in range(0, len(whole), step)]
        boxes, scores = (np.concatenate(values) for values in zip(*runs, strict=True))
        shapes, classes = (boxes.shape, scores.shape), len(self.contract.classes)
        each = len(runs) * step, *boxes.shape[1:2]
        if shapes != ((*each, 4), (*each, classes)):
            raise DataError(f"{path}: {each[0]} pictures of {classes} classes gave boxes and scores {shapes}")
        return boxes[: len(whole)], scores[: len(whole)]


def _filled(part: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """The last pictures of a batch, filled up with the last one to what a fixed batch takes."""
    return part if len(part) == step else np.concatenate([part, np.repeat(part[-1:], step - len(part), 0)])


def _checked(image: Image) -> Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataError(f"expected a picture (H, W, 3) of uint8 RGB, got shape {image.shape} of {image.dtype}")
    return image
