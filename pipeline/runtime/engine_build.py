"""Building a TensorRT engine, on the machine that will run it.

Networks are strongly typed, as TensorRT 11 has them alone: an engine computes in the types that its graph names. So the
precision is chosen by the graph, not by a flag: the kit's fp16 graph holds half-precision weights and casts, its int8
graph explicit QuantizeLinear and DequantizeLinear nodes. TensorRT 10 builds the same from the same files.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError, SightlineError
from pipeline.runtime.contract import CONTRACT, Contract
from pipeline.runtime.cuda import Gpu
from pipeline.runtime.engine_file import EngineCard, Target, engine_folder, write_engine
from pipeline.runtime.files import Model, read_model
from pipeline.runtime.inspect_onnx import check_onnx

TIMINGS = "timing.cache"  # what the builder has measured: the next build of this GPU takes seconds
MIB = 2**20

Shape = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that decides how an engine is built."""

    batch: tuple[int, int, int]  # pictures in one run: fewest, as tuned, most
    shapes: tuple[Shape, Shape, Shape]  # of the input, for each of them
    workspace_mib: int  # memory that a kernel may use beside its inputs and outputs
    tf32: bool  # whether float32 may be multiplied with 10 bits of mantissa


def kit_artifact(folder: Path, precision: str) -> str:
    """Name of the kit's artifact for TensorRT in this precision; "" asks for the kit's default.

    Raises:
        DataError: the folder is no TensorRT kit, or it has no such artifact.
    """
    contract = Contract.read(folder / CONTRACT)
    held = {name: it for name, it in contract.artifacts.items() if it.engine == "tensorrt"}
    if not held:
        raise DataError(f"{folder} is the target {contract.target!r}, no TensorRT kit; build from models/export/nvidia")
    wanted = precision or contract.artifacts[contract.default].precision
    named = [name for name, it in held.items() if it.precision == wanted]
    if not named:
        choices = ", ".join(sorted({it.precision for it in held.values()}))
        raise DataError(f"{folder} holds no {wanted} graph for TensorRT; choose a --precision of {choices}")
    return named[0]


def plan(model: Model, batch: int, workspace_mib: int) -> Plan:
    """How an artifact is built for at most `batch` pictures in one run, which it is tuned for.

    A graph with a fixed batch keeps it.
    """
    fixed, it = model.artifact.batch, model.contract.input
    sizes = (fixed, fixed, fixed) if fixed else (1, batch, batch)
    small, usual, large = ((count, 3, it.height, it.width) for count in sizes)
    # With TensorFloat-32, a default of TensorRT, fp32 would not hold its parity with the trained model.
    return Plan(sizes, (small, usual, large), workspace_mib, tf32=model.artifact.precision != "fp32")


def library(folder: Path) -> Any:
    """The module `tensorrt`. Raises SightlineError where it is not installed: what to install, and what to carry."""
    try:
        import tensorrt  # noqa: PLC0415 - not on every machine
    except ImportError:
        raise SightlineError(
            "TensorRT is not installed. On the machine with the GPU: install NVIDIA's driver, then run "
            "`pip install tensorrt-cu13` (tensorrt-cu12 for a driver of CUDA 12). To build there, carry the whole "
            f"folder {folder} and run: sightline engine build {folder.name}"
        ) from None
    return tensorrt


def build(folder: Path, precision: str, batch: int, workspace_mib: int) -> tuple[Path, EngineCard]:
    """Build the engine of a kit for this machine, and write it beside the kit with its card.

    Args:
        folder: the kit.
        precision: fp32, fp16 or int8, as far as the kit has it; "" for its default.
        batch: most pictures in one run.
        workspace_mib: memory that a kernel may use beside its inputs and outputs, MiB.

    Returns:
        the engine's path and its card.

    Raises:
        DataError: the kit is not as it must be, or TensorRT cannot build from it.
        SightlineError: TensorRT, the driver or the GPU is not there.
    """
    model = read_model(folder, kit_artifact(folder, precision))
    check_onnx(model.graph, model.path)
    trt, gpu = library(folder), Gpu()
    it = plan(model, batch, workspace_mib)
    data = _compile(trt, model, it)
    card = EngineCard(
        tensorrt=trt.__version__,
        gpu=gpu.name,
        driver=gpu.driver,
        graph=model.artifact.files[model.artifact.model],
        engine=hashlib.sha256(data).hexdigest(),
        artifact=model.name,
        precision=model.artifact.precision,
        batch=it.batch,
        workspace_mib=it.workspace_mib,
    )
    return write_engine(model, data, card), card


def here(trt: Any, gpu: Gpu) -> Target:
    """What an engine must have been built with to run in this process."""
    return Target(trt.__version__, gpu.name, gpu.driver)


def _compile(trt: Any, model: Model, it: Plan) -> bytes:
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = _network(trt, builder, model)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, it.workspace_mib * MIB)
    if not it.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    profile.set_shape(model.contract.input.name, *it.shapes)
    config.add_optimization_profile(profile)
    timings = engine_folder(model.folder) / TIMINGS
    cache = config.create_timing_cache(timings.read_bytes() if timings.exists() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)  # measured on another GPU or version, it is left aside
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise DataError(
            f"{model.path}: TensorRT {trt.__version__} built no engine; its reasons stand above; "
            f"a larger --workspace or a smaller --batch may help"
        )
    timings.parent.mkdir(exist_ok=True)
    timings.write_bytes(bytes(cache.serialize()))
    return bytes(engine)


def _network(trt: Any, builder: Any, model: Model) -> Any:
    """The graph, parsed into a strongly typed network. Raises DataError with all that the parser objects to."""
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # TensorRT 10; later there is no other
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    if not parser.parse(model.graph):
        problems = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise DataError(f"{model.path}: TensorRT {trt.__version__} cannot take the graph: {problems}")
    return network
