from pathlib import Path

import onnx
import pytest

from pipeline.modeling.targets import cpu
from pipeline.modeling.targets.material import Made, Material


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cpu")


@pytest.fixture(scope="module")
def made(folder: Path, material: Material) -> Made:
    return cpu.make(folder, material)


def test_float_comes_for_any_batch_and_for_one_picture(made: Made, folder: Path) -> None:
    assert [(name, it.precision, it.batch) for name, it in made.artifacts.items()] == [
        ("fp32", "fp32", 0),
        ("fp32-b1", "fp32", 1),
        ("int8", "int8", 0),
    ]
    for it in made.artifacts.values():
        model = onnx.load(folder / it.model)
        onnx.checker.check_model(model, full_check=True)
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == it.batch


def test_activations_are_uint8_and_weights_int8_a_channel(made: Made, folder: Path) -> None:
    graph = onnx.load(folder / made.artifacts["int8"].model).graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    zeros = {held[n.input[2]].data_type for n in graph.node if n.op_type == "QuantizeLinear"}
    assert zeros == {onnx.TensorProto.UINT8}
    weights = {n.partition(".")[0]: t for n, t in held.items() if n.endswith("weight_quantized")}
    scales = {n.partition(".")[0]: t for n, t in held.items() if n.endswith("weight_scale")}
    assert {n: (t.data_type, list(scales[n].dims)) for n, t in weights.items()} == {
        layer: (onnx.TensorProto.INT8, [8]) for layer in ("stem", "mid", "down")
    }


def test_relu_is_part_of_the_range(made: Made, folder: Path) -> None:
    """A range that starts at zero is ReLU already; a node of its own would leave integers for it."""
    assert "Relu" not in {node.op_type for node in onnx.load(folder / made.artifacts["int8"].model).graph.node}


def test_it_tells_what_integers_cost(made: Made) -> None:
    told = made.quantised["int8"]
    assert (told["float_AP"], told["within_budget"], told["kept_in_float"]) == (100, True, [])
    assert list(told["drop_by_calibration_frames"]) == ["2", "4"]
    assert set(told["damage"]) == {"stem", "mid", "down"}
