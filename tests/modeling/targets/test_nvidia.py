from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import helper, numpy_helper

from pipeline.core.errors import SightlineError
from pipeline.modeling.onnx_graph import to_onnx
from pipeline.modeling.targets import nvidia
from pipeline.modeling.targets.material import Made, Material
from tests.detectors import SIZE, Deep


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nvidia")


@pytest.fixture(scope="module")
def made(folder: Path, material: Material) -> Made:
    return nvidia.make(folder, material)


@pytest.fixture
def kit(made: Made, folder: Path) -> onnx.ModelProto:
    """The graph with integers, to be changed."""
    return onnx.load(folder / made.artifacts["int8"].model)


def test_the_kit_holds_half_precision_and_integers(made: Made, folder: Path) -> None:
    assert [(n, it.engine, it.precision) for n, it in made.artifacts.items()] == [
        ("fp16", "tensorrt", "fp16"),
        ("int8", "tensorrt", "int8"),
    ]
    half = onnx.load(folder / made.artifacts["fp16"].model)
    assert nvidia.refusals(half) == []
    assert onnx.TensorProto.FLOAT16 in {tensor.data_type for tensor in half.graph.initializer}
    # Convolutions: input and weight of three. The addition: both sides, one of which the next convolution shares.
    assert made.extra == {"pairs": {"Add": 2, "Conv": 6}}


def test_biases_stay_float_and_relu_stays_beside_its_convolution(kit: onnx.ModelProto) -> None:
    assert nvidia.refusals(kit) == []
    onnx.checker.check_model(kit, full_check=True)
    made = {name: node.op_type for node in kit.graph.node for name in node.output}
    convolutions = [node for node in kit.graph.node if node.op_type == "Conv"]
    assert [node.input[2] for node in convolutions] == ["stem.bias", "mid.bias", "down.bias", "layer.bias"]
    assert [made[node.input[0]] for node in kit.graph.node if node.op_type == "Relu"] == ["Conv"] * 3


def test_the_number_of_pictures_is_read_behind_the_cast() -> None:
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Shape", ["images"], ["sizes"]),
        helper.make_node("Cast", ["images"], ["numbers"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Reshape", ["numbers", "sizes"], ["same"]),
    ]
    images = value("images", onnx.TensorProto.UINT8, ["batch", 3, 8, 8])
    graph = helper.make_graph(nodes, "g", [images], [value("same", onnx.TensorProto.FLOAT, ["batch", 3, 8, 8])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    assert nvidia.refusals(model) == ["Shape  takes bytes; only Cast may"]
    moved = nvidia.cast_first(model)
    onnx.checker.check_model(moved, full_check=True)
    assert nvidia.refusals(moved) == []
    assert [list(node.input) for node in moved.graph.node] == [["images"], ["numbers"], ["numbers", "sizes"]]


def change_zero(model: onnx.ModelProto) -> None:
    name = next(node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear")
    tensor = next(it for it in model.graph.initializer if it.name == name)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 1, name))


def change_sign(model: onnx.ModelProto) -> None:
    name = next(node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear")
    tensor = next(it for it in model.graph.initializer if it.name == name)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("uint8"), name))


def cut_relu(model: onnx.ModelProto) -> None:
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    pair = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    model.graph.node.append(helper.make_node("QuantizeLinear", [relu.input[0], *pair.input[1:]], ["loose"], "loose"))


def float_input(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    pair = {name: it for it in model.graph.node for name in it.output}
    node.input[0] = pair[pair[node.input[0]].input[0]].input[0]


def bytes_as_numbers(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Cast").op_type = "Identity"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(change_zero, "is not symmetric", id="a zero point"),
        pytest.param(change_sign, "has zero points of uint8, not int8", id="unsigned"),
        pytest.param(cut_relu, "is cut off from its ReLU", id="a pair before ReLU"),
        pytest.param(cut_relu, "loose is not followed by its other half", id="half a pair"),
        pytest.param(float_input, "has integer weights and a float input", id="one side"),
        pytest.param(bytes_as_numbers, "takes bytes; only Cast may", id="bytes"),
        pytest.param(
            lambda m: setattr(m.opset_import[0], "version", 23), "opset 23 is not within 13 to 20", id="opset"
        ),
        pytest.param(lambda m: setattr(m.graph.node[-1], "op_type", "Unique"), "operators Unique", id="operator"),
        pytest.param(lambda m: setattr(m.graph.node[-1], "domain", "com.other"), "operators of com.other", id="domain"),
    ],
)
def test_what_tensorrt_would_not_take_is_named(
    kit: onnx.ModelProto, change: Callable[[onnx.ModelProto], None], words: str
) -> None:
    change(kit)
    assert words in "; ".join(nvidia.refusals(kit))


def test_a_graph_that_cannot_go_is_not_written(material: Material, tmp_path: Path) -> None:
    later = replace(material, graph=to_onnx(Deep().eval(), SIZE, 21, dynamic=True))
    with pytest.raises(
        SightlineError, match=r"TensorRT would not take model-fp16\.onnx: opset 21 is not within 13 to 20"
    ):
        nvidia.make(tmp_path, later)
    assert list(tmp_path.iterdir()) == []
