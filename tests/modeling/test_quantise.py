from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType

from pipeline.modeling.judge import Judge
from pipeline.modeling.onnx_graph import serialised, to_onnx
from pipeline.modeling.quantise import GROUPS, Quantiser, Scheme, groups, quantise, sensitivity
from tests.detectors import SIZE, Deep, noise, own_judge

SCHEME = Scheme(QuantType.QUInt8, ("Conv", "Relu", "Add"))


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    """In its middle layer one weight of each channel is some thousand times as large as the others."""
    model = Deep().eval()
    model.mid.weight.data[:, 0, 0, 0] = 100.0
    return to_onnx(model, SIZE, 18, dynamic=True)


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    return noise(6)


@pytest.fixture(scope="module")
def judge(graph: onnx.ModelProto, pictures: NDArray[np.uint8]) -> Judge:
    return own_judge(graph, pictures)


def integers(graph: bytes) -> set[str]:
    """Layers whose weights are int8."""
    held = {tensor.name: tensor.data_type for tensor in onnx.load_from_string(graph).graph.initializer}
    return {n.partition(".")[0] for n, kind in held.items() if kind == onnx.TensorProto.INT8 and "zero_point" not in n}


def test_all_layers_but_the_last_become_integers(
    graph: onnx.ModelProto, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    quantiser = Quantiser(tmp_path, graph, pictures, SCHEME)
    assert integers(quantiser.make()) == {"stem", "mid", "down"}
    assert integers(quantiser.make(name for name, layer in quantiser.nodes.items() if layer == "mid")) == {"mid"}
    assert quantiser.make([]) == serialised(graph)


def test_the_same_pictures_give_the_same_bytes(
    graph: onnx.ModelProto, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one, other = (Quantiser(tmp_path / name, graph, pictures, SCHEME).make() for name in ("one", "other"))
    assert one == other


def test_within_the_budget_nothing_stays_float(
    graph: onnx.ModelProto, pictures: NDArray[np.uint8], judge: Judge
) -> None:
    found = quantise(graph, pictures, SCHEME, judge, 100)
    assert found.float_ap == pytest.approx(100)
    assert found.kept == ()
    assert integers(found.graph) == {"stem", "mid", "down"}
    assert found.damage.keys() == {"stem", "mid", "down"}
    assert all(value > 0 for value in found.damage.values())


def test_without_a_budget_layers_stay_float_the_worst_first(
    graph: onnx.ModelProto, pictures: NDArray[np.uint8], judge: Judge
) -> None:
    found = quantise(graph, pictures, SCHEME, judge, -1)  # more than float itself can give: every layer, in order
    assert list(found.kept) == sorted(found.damage, key=lambda name: -found.damage[name])
    assert found.graph == serialised(graph)
    assert found.drop == pytest.approx(0)


def test_a_budget_that_cannot_be_missed_by_all_float_is_met(
    graph: onnx.ModelProto, pictures: NDArray[np.uint8], judge: Judge
) -> None:
    found = quantise(graph, pictures, SCHEME, judge, 1)
    assert found.drop <= 1
    assert integers(found.graph) == {"stem", "mid", "down"} - set(found.kept)


def test_sensitivity_is_told_by_the_number_of_frames(
    graph: onnx.ModelProto, pictures: NDArray[np.uint8], judge: Judge
) -> None:
    dark = np.zeros_like(pictures[:1])  # ranges of a black picture clip all others
    lost = sensitivity(graph, {1: dark, 6: pictures}, SCHEME, judge)
    assert list(lost) == [1, 6]
    assert lost[1] > lost[6]


def test_many_layers_are_tried_in_groups() -> None:
    nodes = {f"conv {i}": f"backbone.{i // 10}.{i}" for i in range(10 * GROUPS)}
    assert list(groups(nodes)) == [f"backbone.{i}" for i in range(GROUPS)]
    assert groups({}) == {}
