import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from pipeline.modeling.half import to_half
from pipeline.modeling.onnx_graph import body, serialised, to_onnx
from tests.detectors import SIZE, Deep


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    return to_onnx(Deep().eval(), SIZE, 18, dynamic=True)


def run(graph: onnx.ModelProto) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(serialised(graph), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).integers(0, 256, (3, 3, SIZE[1], SIZE[0]), np.uint8)
    return list(session.run(["boxes", "scores"], {"images": images}))


def test_it_computes_the_same_in_fewer_bits(graph: onnx.ModelProto) -> None:
    """Half precision has 11 significant bits; three layers lose at most a few of them."""
    for ours, theirs in zip(run(graph), run(to_half(graph, body(graph))), strict=True):
        assert theirs.dtype == np.float32
        np.testing.assert_allclose(theirs, ours, rtol=4 * 2**-11)
        assert not np.array_equal(theirs, ours)


def test_weights_are_half_inside_and_float_outside(graph: onnx.ModelProto) -> None:
    kinds = {tensor.name: tensor.data_type for tensor in to_half(graph, body(graph)).graph.initializer}
    halves = {name for name, kind in kinds.items() if kind == TensorProto.FLOAT16}
    layers = ("stem", "mid", "down")
    assert halves == {f"{layer}.{part}_half" for layer in layers for part in ("weight", "bias")}
    assert kinds["layer.weight"] == TensorProto.FLOAT


def test_casts_stand_at_the_border_alone(graph: onnx.ModelProto) -> None:
    casts = [node for node in to_half(graph, body(graph)).graph.node if node.op_type == "Cast"]
    kinds = [node.attribute[0].i for node in casts]  # bytes to float, in, out
    assert kinds == [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.FLOAT]


def test_no_node_no_change(graph: onnx.ModelProto) -> None:
    assert serialised(to_half(graph, ())) == serialised(graph)
