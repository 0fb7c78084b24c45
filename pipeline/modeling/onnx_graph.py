"""A trained detector as an ONNX graph, and what can be read from such a graph."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import onnx
import torch

from pipeline.core.errors import SightlineError
from pipeline.modeling.detector import Detector

IMAGES, BOXES, SCORES = "images", "boxes", "scores"
TRACED_BATCH = 2  # an exporter that writes the example's batch into the graph is found out by a batch of one
WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}  # where the work is
NOT_COMPUTED = {"producer_name", "producer_version", "doc_string", "metadata_props", "value_info"}


def to_onnx(model: Detector, size: tuple[int, int], opset: int, *, dynamic: bool) -> onnx.ModelProto:
    """The detector's graph, checked, and free of everything that is not computed.

    Args:
        model: in eval mode, on the CPU.
        size: width and height of the input, pixels.
        opset: version of ONNX's operators.
        dynamic: whether any number of pictures may go in at once; else one.

    Raises:
        SightlineError: neither of PyTorch's exporters can write the graph.
    """
    images = torch.zeros(TRACED_BATCH if dynamic else 1, 3, size[1], size[0], dtype=torch.uint8)
    reasons = []
    for dynamo in (True, False):  # the old exporter writes some graphs that the new one cannot
        try:
            proto = plain(_trace(model, images, opset, dynamic=dynamic, dynamo=dynamo))
        except RuntimeError as error:  # the root of what both exporters raise
            reasons.append(str(error).strip().partition("\n")[0])
            continue
        onnx.checker.check_model(proto, full_check=True)
        if dynamic == bool(proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param):
            return proto
        reasons.append("the number of pictures is written into the graph")
    raise SightlineError(
        f"export: {type(model).__name__} cannot be written as ONNX opset {opset} with "
        f"{'any' if dynamic else 'a fixed'} batch: {'; '.join(reasons)}"
    )


def _trace(model: Detector, images: torch.Tensor, opset: int, *, dynamic: bool, dynamo: bool) -> onnx.ModelProto:
    batch: dict[str, Any] = {}
    if dynamic and dynamo:
        batch = {"dynamic_shapes": {IMAGES: {0: torch.export.Dim("batch", min=1)}}}
    elif dynamic:
        batch = {"dynamic_axes": {name: {0: "batch"} for name in (IMAGES, BOXES, SCORES)}}
    with tempfile.TemporaryDirectory() as folder, silenced(), torch.no_grad():
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            model,
            (images,),
            file,
            input_names=[IMAGES],
            output_names=[BOXES, SCORES],
            opset_version=opset,
            dynamo=dynamo,
            external_data=False,
            **batch,
        )
        return onnx.load(file)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Both exporters print whole graphs and pages of advice; what matters is raised."""
    noise = io.StringIO()
    with (
        contextlib.redirect_stdout(noise),
        contextlib.redirect_stderr(noise),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def plain(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same computation without stack traces, documentation and producer, which name paths and machines."""
    clean = onnx.ModelProto()
    clean.CopyFrom(proto)
    _strip(clean)
    return clean


def _strip(message: Any) -> None:  # protobuf's messages have no types
    for descriptor, value in message.ListFields():
        if descriptor.name in NOT_COMPUTED:
            message.ClearField(descriptor.name)
        elif descriptor.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                _strip(part)


def serialised(proto: onnx.ModelProto) -> bytes:
    """The same bytes for the same graph."""
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def body(proto: onnx.ModelProto) -> dict[str, str]:
    """The nodes that can compute in fewer bits: name -> the layer that it belongs to, in the order they run.

    Left out are what comes before the first weighted layer (bytes to numbers), the last weighted layers on each way
    through the network, and what follows them (the decoding): a coordinate has more than 256 places, and these layers
    cost next to nothing.
    """
    weighted = _weighted(proto)
    leading = _leading_to(proto, weighted)
    origin: dict[str, str] = {}  # tensor -> the layer that it comes from
    layers: dict[str, str] = {}
    for node in proto.graph.node:
        before = next((origin[name] for name in node.input if name in origin), "")
        layer = weighted.get(node.name, before)
        if layer:
            origin.update(dict.fromkeys(node.output, layer))
            if node.name in leading:
                layers[node.name] = layer
    return layers


def _weighted(proto: onnx.ModelProto) -> dict[str, str]:
    """Nodes with trained weights -> name of their layer: the module's in PyTorch where the exporter kept it."""
    held = {tensor.name for tensor in proto.graph.initializer}
    found = [node for node in proto.graph.node if node.op_type in WEIGHTED and held.intersection(node.input[1:2])]
    return {node.name: (node.input[1] if "." in node.input[1] else node.name).removesuffix(".weight") for node in found}


def _leading_to(proto: onnx.ModelProto, wanted: Container[str]) -> set[str]:
    """Nodes whose outputs a wanted node needs, directly or through others."""
    leading, needed = set[str](), set[str]()
    for node in reversed(proto.graph.node):
        if needed.intersection(node.output):
            leading.add(node.name)
        if node.name in leading or node.name in wanted:
            needed.update(node.input[:1] if node.op_type == "RoiAlign" else node.input)  # regions are coordinates
    return leading
