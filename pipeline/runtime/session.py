"""An exported model at work: ONNX Runtime behind its contract. The bytes are checked before anything is loaded."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.types import Detections
from pipeline.runtime.contract import Contract
from pipeline.runtime.postprocess import calibrated, select
from pipeline.runtime.preprocess import letterbox

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CONTRACT = "contract.json"
DYNAMIC = "model.onnx"  # any number of pictures at once
SINGLE = "model-b1.onnx"  # one picture at a time

Image = NDArray[np.uint8]


class Session(Protocol):
    """What every engine that runs an exported model offers."""

    @property
    def contract(self) -> Contract:
        """What the model expects and gives."""

    def detect(self, image: Image) -> Detections:
        """Detections in one (H, W, 3) uint8 RGB picture, in its own pixels, from the contract's score floor up."""

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        """Detections in several pictures, which may differ in size."""

    def calibrated(self, scores: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """What scores (N,) of `labels` (N,) mean: the IoU with an object that can be expected."""


class OnnxSession:
    """A `Session` on ONNX Runtime's CPU engine. Contract and model are read at first use.

    Args:
        folder: the export, with `contract.json` and the model files that it names.
        file: which of the model files.
        threads: threads within an operator; 0 leaves it to ONNX Runtime.
    """

    def __init__(self, folder: Path, file: str = DYNAMIC, threads: int = 0) -> None:
        self._folder = folder
        self._file = file
        self._threads = threads

    @cached_property
    def contract(self) -> Contract:
        """What the model expects and gives. Raises DataError where it is missing or wrong."""
        return Contract.read(self._folder / CONTRACT)

    def detect(self, image: Image) -> Detections:
        """See `Session.detect`. Raises DataError where the picture or the model is not as it must be."""
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        """See `Session.detect_batch`; one run of the model, or one a picture where its batch is fixed."""
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
        """See `Session.calibrated`; a class whose scores were not calibrated keeps them."""
        contract = self.contract
        return calibrated(scores, labels, [contract.confidence.get(name, ()) for name in contract.classes])

    def candidates(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Candidates before NMS of a batch (B, 3, H, W): boxes (B, A, 4) input-pixel xyxy, scores (B, A, C).

        Raises:
            DataError: the model cannot run on this batch, or what it gives is not what its contract says.
        """
        whole = np.ascontiguousarray(batch)
        parts = [whole[i : i + 1] for i in range(len(whole))] if self._fixed else [whole]
        runs = [self._run(part) for part in parts]
        boxes, scores = (np.concatenate(values) for values in zip(*runs, strict=True))
        shapes, classes = (boxes.shape, scores.shape), len(self.contract.classes)
        each = len(whole), *boxes.shape[1:2]
        if shapes != ((*each, 4), (*each, classes)):
            raise DataError(f"{self._path}: {len(whole)} pictures of {classes} classes gave boxes and scores {shapes}")
        return boxes, scores

    def _run(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        output = self.contract.output
        try:
            found: list[NDArray[np.float32]] = self._engine.run(
                [output.boxes, output.scores], {self.contract.input.name: batch}
            )
        except _engine_errors() as error:
            raise DataError(f"{self._path} does not run on {len(batch)} pictures: {error}") from None
        return found

    @property
    def _fixed(self) -> bool:
        """Whether the model takes one picture at a time."""
        return bool(self._engine.get_inputs()[0].shape[0] == 1)

    @cached_property
    def _engine(self) -> "InferenceSession":
        """The model, from bytes that are what the contract says."""
        import onnxruntime  # noqa: PLC0415 - a third of a second that the command line does not need

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 4  # what goes wrong is raised
        try:
            engine = onnxruntime.InferenceSession(self._bytes(), options, providers=["CPUExecutionProvider"])
        except _engine_errors() as error:
            raise DataError(f"{self._path} is no model that ONNX Runtime can load: {error}") from None
        self._check_shape(engine)
        return engine

    @property
    def _path(self) -> Path:
        return self._folder / self._file

    def _bytes(self) -> bytes:
        path, expected = self._path, self.contract.files.get(self._file)
        if expected is None:
            raise DataError(
                f"{self._folder / CONTRACT} names no file {self._file!r}; choose from {sorted(self.contract.files)}"
            )
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise DataError(f"{path} does not exist, though its contract names it; run: dvc repro export") from None
        if hashlib.sha256(data).hexdigest() != expected:
            raise DataError(
                f"{path} is not the file that its contract describes (SHA-256 differs); run: dvc repro export"
            )
        return data

    def _check_shape(self, engine: "InferenceSession") -> None:
        """Raises DataError where the model's inputs and outputs are not the contract's."""
        wanted = self.contract.input
        inputs = [(i.name, i.type, tuple(i.shape[1:])) for i in engine.get_inputs()]
        expected = [(wanted.name, "tensor(uint8)", (3, wanted.height, wanted.width))]
        outputs = {o.name for o in engine.get_outputs()}
        missing = {self.contract.output.boxes, self.contract.output.scores} - outputs
        if inputs != expected or missing:
            raise DataError(
                f"{self._path}: the contract says input {expected}, the file has {inputs}; "
                f"outputs missing: {sorted(missing) or 'none'}; export again"
            )


def _engine_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises; it has no common root of its own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
    return tuple(getattr(state, name) for name in names)


def _checked(image: Image) -> Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataError(f"expected a picture (H, W, 3) of uint8 RGB, got shape {image.shape} of {image.dtype}")
    return image
