from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.core.errors import DataError
from pipeline.runtime.inspect_onnx import MAX_DEPTH, check_onnx
from tests.exports import brightness_graph

PATH = Path("model.onnx")
KINDS = [np.float32, np.float16, np.float64, np.uint8, np.int8, np.int32, np.int64, np.bool_, np.uint16, np.complex64]


def model_of(*tensors: TensorProto) -> onnx.ModelProto:
    graph = brightness_graph("batch")
    graph.graph.initializer.extend(tensors)
    return graph


def refuse(model: onnx.ModelProto, match: str) -> None:
    with pytest.raises(DataError, match=f"model.onnx is refused before it is loaded: .*{match}"):
        check_onnx(model.SerializeToString(), PATH)


@pytest.mark.parametrize("batch", ["batch", 1])
def test_a_model_is_let_through(batch: str | int) -> None:
    check_onnx(brightness_graph(batch).SerializeToString(), PATH)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 5)])
def test_tensors_of_every_type_are_let_through(kind: type[np.generic], shape: tuple[int, ...]) -> None:
    values = np.ones(shape, kind)
    raw = numpy_helper.from_array(values, "raw")
    typed = helper.make_tensor("typed", raw.data_type, shape, values.ravel().tolist())
    check_onnx(model_of(raw, typed).SerializeToString(), PATH)


@pytest.mark.parametrize(
    ("kind", "count"), [(TensorProto.INT4, 7), (TensorProto.UINT4, 8), (TensorProto.FLOAT8E4M3FN, 3)]
)
def test_narrow_types_are_let_through(kind: int, count: int) -> None:
    typed = helper.make_tensor("typed", kind, [count], [1] * count)
    raw = helper.make_tensor("raw", kind, [count], bytes(-(-count // 2) if count > 3 else count), raw=True)
    check_onnx(model_of(typed, raw).SerializeToString(), PATH)


def test_words_are_let_through() -> None:
    words = TensorProto(name="words", data_type=TensorProto.STRING, dims=[2], string_data=[b"", b"b"])
    check_onnx(model_of(words).SerializeToString(), PATH)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "weights.bin"])
def test_weights_in_another_file_are_refused(location: str) -> None:
    tensor = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    refuse(model_of(tensor), "another file")
    tensor.data_location = TensorProto.DEFAULT
    refuse(model_of(tensor), f"another file .*{location}")


@pytest.mark.parametrize(
    ("dims", "held"),
    [
        pytest.param([1 << 40], 16, id="terabytes"),
        pytest.param([1 << 33, 1 << 33], 16, id="product beyond 64 bits"),
        pytest.param([5], 16, id="one value too many"),
        pytest.param([3], 16, id="one value too few"),
        pytest.param([-4], 16, id="negative side"),
        pytest.param([-2, -2], 16, id="negative sides"),
    ],
)
def test_a_tensor_that_is_larger_than_its_bytes_is_refused(dims: list[int], held: int) -> None:
    raw = TensorProto(name="large", data_type=TensorProto.FLOAT, dims=dims, raw_data=bytes(held))
    refuse(model_of(raw), "a tensor of shape")


def test_a_tensor_without_its_values_is_refused() -> None:
    none = TensorProto(name="empty", data_type=TensorProto.FLOAT, dims=[1 << 20])
    refuse(model_of(none), "1048576 values in 0 bytes")
    one = TensorProto(name="large", data_type=TensorProto.FLOAT, dims=[1 << 20], float_data=[1.0])
    refuse(model_of(one), "1048576 values in 4 bytes")


def test_a_type_without_a_size_is_refused() -> None:
    refuse(model_of(TensorProto(name="odd", data_type=99, dims=[1], raw_data=b"1")), "of type 99")


def hidden(make: Callable[[TensorProto], onnx.NodeProto]) -> onnx.ModelProto:
    large = TensorProto(name="large", data_type=TensorProto.FLOAT, dims=[1 << 40], raw_data=b"1234")
    model = brightness_graph("batch")
    model.graph.node.append(make(large))
    return model


def in_branch(tensor: TensorProto) -> onnx.NodeProto:
    branch = helper.make_graph([], "branch", [], [], [tensor])
    return helper.make_node("If", ["condition"], ["out"], then_branch=branch)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda tensor: helper.make_node("Constant", [], ["out"], value=tensor), id="constant"),
        pytest.param(in_branch, id="branch"),
        pytest.param(lambda tensor: helper.make_node("Other", [], ["out"], several=[tensor]), id="list"),
    ],
)
def test_a_tensor_is_found_wherever_it_hides(make: Callable[[TensorProto], onnx.NodeProto]) -> None:
    refuse(hidden(make), "a tensor of shape")


def test_a_tensor_is_found_in_a_function() -> None:
    model = brightness_graph("batch")
    node = hidden(lambda tensor: helper.make_node("Constant", [], ["out"], value=tensor)).graph.node[-1]
    model.functions.add(name="inner", domain="own").node.append(node)
    refuse(model, "a tensor of shape")


def test_graphs_within_graphs_end_somewhere() -> None:
    graph = helper.make_graph([], "innermost", [], [])
    for _ in range(MAX_DEPTH):
        graph = helper.make_graph([helper.make_node("If", ["c"], ["o"], then_branch=graph)], "outer", [], [])
    model = helper.make_model(graph)
    refuse(model, "messages deep")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(share: float) -> None:
    data = brightness_graph("batch").SerializeToString()
    with pytest.raises(DataError, match="truncated"):
        check_onnx(data[: round(len(data) * share)], PATH)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        pytest.param(b"", "holds no graph", id="empty"),
        pytest.param(b"\x08\x0a", "holds no graph", id="a version alone"),
        pytest.param(b"no model at all", "refused before it is loaded", id="text"),
        pytest.param(b"\xff" * 40, "an integer has no end", id="endless integer"),
        pytest.param(b"\x3a\xff\xff\xff\xff\x0f\x00", "truncated: 4294967295 bytes are declared", id="long"),
        pytest.param(b"\x3b", "wire type 3", id="group"),
    ],
)
def test_what_is_no_model(data: bytes, match: str) -> None:
    with pytest.raises(DataError, match=match):
        check_onnx(data, PATH)
