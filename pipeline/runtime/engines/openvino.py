"""OpenVINO on the CPU."""

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError, SightlineError
from pipeline.runtime.engines.engine import Candidates, check_fit
from pipeline.runtime.files import Model
from pipeline.runtime.inspect_openvino import check_openvino
from pipeline.runtime.machine import Machine, this_machine

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest


class OpenVinoEngine:
    """See `Engine`.

    Args:
        model: an intermediate representation, .xml and .bin.
        threads: for one picture; 0 for one a core.
        streams: pictures at the same time.
    """

    def __init__(self, model: Model, threads: int, streams: int) -> None:
        check_openvino(model.graph, _weights(model), model.path)
        self._model = model
        self._settings = settings(model.artifact.precision, this_machine(), threads, streams)
        self._compiled = self._compile()
        self._local = threading.local()  # a request runs one batch at a time

    @cached_property
    def chosen(self) -> str:
        """See `Engine.chosen`."""
        import openvino  # noqa: PLC0415

        it, stored = self._settings, self._model.artifact.precision
        lacking = stored == "bf16" != it["INFERENCE_PRECISION_HINT"]
        precision = "fp32 (this processor has no bfloat16)" if lacking else stored
        version = openvino.get_version().partition("-")[0]
        return (
            f"OpenVINO {version}, {precision}, {it['INFERENCE_NUM_THREADS']} threads in {it['NUM_STREAMS']} streams, "
            f"for {it['PERFORMANCE_HINT'].lower()}"
        )

    def run(self, batch: NDArray[np.uint8]) -> Candidates:
        """See `Engine.run`."""
        rule = self._model.contract.output
        request = self._request()
        try:
            found = request.infer({self._model.contract.input.name: batch})
        except RuntimeError as error:
            raise DataError(f"{self._model.path} does not run on {len(batch)} pictures: {error}") from None
        # The request writes its next answer over this one.
        return found[rule.boxes].copy(), found[rule.scores].copy()

    def _request(self) -> "InferRequest":
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        request: InferRequest = self._local.request
        return request

    def _compile(self) -> "CompiledModel":
        ov = _library()
        core = ov.Core()
        try:
            graph = core.read_model(model=self._model.graph, weights=_weights(self._model))
            check_fit(
                self._model,
                [(i.any_name, _kind(i.element_type), _shape(i.partial_shape)) for i in graph.inputs],
                {name for output in graph.outputs for name in output.names},
            )
            return core.compile_model(graph, "CPU", self._settings)
        except RuntimeError as error:
            raise DataError(f"{self._model.path} is no model that OpenVINO can load: {error}") from None


def settings(precision: str, machine: Machine, threads: int, streams: int) -> dict[str, Any]:
    """OpenVINO's settings; what it would choose alone differs between machines and changes what a model gives.

    bfloat16 is used where the artifact asks for it and the processor has it, else float32. What an int8 model leaves in
    floating point are the layers that give coordinates: in bfloat16 they cost the demo's model 1.7 points of AP and
    gain nothing.
    """
    bf16 = precision == "bf16" and machine.bf16
    return {
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads * streams or machine.cores,
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        "CACHE_DIR": "",
    }


def _library() -> Any:
    try:
        import openvino  # noqa: PLC0415 - half a second that the other engines do not need
    except ImportError:
        raise SightlineError("this artifact needs OpenVINO; run: pip install openvino") from None
    return openvino


def _weights(model: Model) -> bytes:
    sidecars = [data for file, data in model.data.items() if file != model.artifact.model]
    if len(sidecars) != 1:
        raise DataError(f"{model.path}: an OpenVINO model has one .bin beside it, the contract names {len(sidecars)}")
    return sidecars[0]


def _kind(element_type: Any) -> str:
    name: str = element_type.to_dtype().name
    return name


def _shape(shape: Any) -> tuple[int | str | None, ...]:
    return tuple(side.get_length() if side.is_static else None for side in shape)
