import onnx
import pytest
from torch import Tensor

from pipeline.core.errors import SightlineError
from pipeline.modeling.onnx_graph import body, plain, serialised, to_onnx
from tests.detectors import SIZE, Deep, Tiny


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    return to_onnx(Deep().eval(), SIZE, 18, dynamic=True)


def test_the_graph_takes_bytes_and_any_batch(graph: onnx.ModelProto) -> None:
    (images,) = graph.graph.input
    assert images.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_value for d in images.type.tensor_type.shape.dim] == [0, 3, SIZE[1], SIZE[0]]
    assert [o.version for o in graph.opset_import] == [18]


def test_the_same_detector_gives_the_same_bytes(graph: onnx.ModelProto) -> None:
    assert serialised(to_onnx(Deep().eval(), SIZE, 18, dynamic=True)) == serialised(graph)


class Broken(Tiny):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        raise RuntimeError(f"no graph of {images.ndim} dimensions")


def test_what_no_exporter_can_write_is_refused_with_the_reasons() -> None:
    with pytest.raises(
        SightlineError, match=r"Broken cannot be written as ONNX opset 18 with any batch: .*no graph of"
    ):
        to_onnx(Broken().eval(), SIZE, 18, dynamic=True)


def test_what_is_not_computed_is_left_out(graph: onnx.ModelProto) -> None:
    told = onnx.ModelProto()
    told.CopyFrom(graph)
    told.producer_name, told.doc_string = "a machine", "its path"
    told.graph.node[0].doc_string = "a stack trace"
    assert serialised(plain(told)) == serialised(graph)


def test_the_body_is_what_lies_before_a_layer_and_not_before_all_of_them(graph: onnx.ModelProto) -> None:
    """Bytes to numbers, the last layer and the decoding stay as they are."""
    kinds = {node.name: node.op_type for node in graph.graph.node}
    found = [(kinds[name], layer) for name, layer in body(graph).items()]
    assert found == [
        ("Conv", "stem"), ("Relu", "stem"), ("Conv", "mid"), ("Relu", "mid"), ("Add", "stem"), ("Conv", "down"),
        ("Relu", "down"),
    ]  # fmt: skip


def test_a_single_layer_has_no_body() -> None:
    assert body(to_onnx(Tiny().eval(), SIZE, 18, dynamic=True)) == {}
