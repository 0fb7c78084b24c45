"""TensorRT on an NVIDIA GPU, from an engine that was built on this machine."""

import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.runtime.cuda import Gpu
from pipeline.runtime.engine_build import here, library
from pipeline.runtime.engine_file import build_command, read_card, read_engine
from pipeline.runtime.engines.engine import Candidates, check_fit
from pipeline.runtime.files import Model


@dataclass(frozen=True, slots=True)
class _Worker:
    """What one thread needs of its own."""

    context: Any  # tensorrt.IExecutionContext
    stream: int
    addresses: dict[str, int]  # of each input and output, with room for the largest batch


class TensorRtEngine:
    """See `Engine`.

    Args:
        model: an ONNX file whose engine was built; see `engine_build`.
    """

    def __init__(self, model: Model, _threads: int, _streams: int) -> None:
        card = read_card(model)  # what needs no library is checked first
        self._trt, self._gpu = library(model.folder), Gpu()
        data = read_engine(model, card, here(self._trt, self._gpu))
        self._model, self._most = model, card.batch[2]
        # Held for as long as the engine: TensorRT keeps references to neither.
        self._runtime = self._trt.Runtime(self._trt.Logger(self._trt.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise DataError(f"TensorRT cannot load the engine for {model.name}; run: {build_command(model)}")
        check_fit(model, *self._held())
        self._local = threading.local()
        self.chosen = f"TensorRT {card.tensorrt}, {card.precision}, {card.gpu}, up to {self._most} pictures in one run"

    def run(self, batch: NDArray[np.uint8]) -> Candidates:
        """See `Engine.run`; in several runs where the batch is larger than the engine was built for."""
        runs = [self._once(batch[i : i + self._most]) for i in range(0, len(batch), self._most)]
        boxes, scores = (np.concatenate(values) for values in zip(*runs, strict=True))
        return boxes, scores

    def _once(self, batch: NDArray[np.uint8]) -> Candidates:
        self._gpu.activate()
        worker, rule = self._worker(), self._model.contract.output
        name = self._model.contract.input.name
        if not worker.context.set_input_shape(name, batch.shape):
            raise DataError(f"{self._model.path}: its engine takes no batch of shape {batch.shape}")
        self._gpu.upload(worker.addresses[name], batch)
        if not worker.context.execute_async_v3(worker.stream):
            raise DataError(f"{self._model.path}: its engine does not run on {len(batch)} pictures")
        self._gpu.wait(worker.stream)
        return self._fetched(worker, rule.boxes), self._fetched(worker, rule.scores)

    def _fetched(self, worker: _Worker, name: str) -> NDArray[np.float32]:
        values = np.empty(tuple(worker.context.get_tensor_shape(name)), self._kind(name))
        self._gpu.download(values, worker.addresses[name])
        return values.astype(np.float32, copy=False)

    def _worker(self) -> _Worker:
        if not hasattr(self._local, "worker"):
            context = self._engine.create_execution_context()
            addresses = {name: self._gpu.allocate(self._room(context, name)) for name in self._names()}
            for name, address in addresses.items():
                context.set_tensor_address(name, address)
            self._local.worker = _Worker(context, self._gpu.stream(), addresses)
        worker: _Worker = self._local.worker
        return worker

    def _room(self, context: Any, name: str) -> int:
        """Bytes of an input or output at the largest batch."""
        it = self._model.contract.input
        context.set_input_shape(it.name, (self._most, 3, it.height, it.width))
        shape: tuple[int, ...] = tuple(context.get_tensor_shape(name))
        return math.prod(shape) * self._kind(name).itemsize

    def _kind(self, name: str) -> np.dtype[Any]:
        kind: np.dtype[Any] = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        return kind

    def _names(self) -> list[str]:
        return [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]

    def _held(self) -> tuple[list[tuple[str, str, tuple[int | str | None, ...]]], set[str]]:
        """Name, type and shape of each input, and the outputs' names."""
        inputs, outputs = [], set()
        for name in self._names():
            if self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT:
                shape = tuple(None if side < 0 else side for side in self._engine.get_tensor_shape(name))
                inputs.append((name, self._kind(name).name, shape))
            else:
                outputs.add(name)
        return inputs, outputs
