"""ONNX Runtime on the CPU."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.runtime.engines.engine import Candidates, check_fit
from pipeline.runtime.files import Model
from pipeline.runtime.inspect_onnx import check_onnx
from pipeline.runtime.machine import this_machine

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class OnnxEngine:
    """See `Engine`.

    Args:
        model: an ONNX file.
        threads: threads within an operator; 0 for one a core.
    """

    def __init__(self, model: Model, threads: int, _streams: int) -> None:
        check_onnx(model.graph, model.path)
        self._model = model
        self._threads = threads or this_machine().cores
        self._session = self._load()
        self._names = [model.contract.output.boxes, model.contract.output.scores]

    @cached_property
    def chosen(self) -> str:
        """See `Engine.chosen`."""
        import onnxruntime  # noqa: PLC0415

        return f"ONNX Runtime {onnxruntime.__version__}, {self._model.artifact.precision}, {self._threads} threads"

    def run(self, batch: NDArray[np.uint8]) -> Candidates:
        """See `Engine.run`."""
        try:
            boxes, scores = self._session.run(self._names, {self._model.contract.input.name: batch})
        except _engine_errors() as error:
            raise DataError(f"{self._model.path} does not run on {len(batch)} pictures: {error}") from None
        return boxes, scores

    def _load(self) -> "InferenceSession":
        import onnxruntime  # noqa: PLC0415 - a third of a second that the command line does not need

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 4  # what goes wrong is raised
        try:
            session = onnxruntime.InferenceSession(self._model.graph, options, providers=["CPUExecutionProvider"])
        except _engine_errors() as error:
            raise DataError(f"{self._model.path} is no model that ONNX Runtime can load: {error}") from None
        inputs = [(i.name, i.type.removeprefix("tensor(").rstrip(")"), tuple(i.shape)) for i in session.get_inputs()]
        check_fit(self._model, inputs, {o.name for o in session.get_outputs()})
        return session


def _engine_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises; it has no common root of its own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
    return tuple(getattr(state, name) for name in names)
