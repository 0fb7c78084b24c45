from functools import partial

import onnx
import pytest

from pipeline.modeling.onnx_graph import to_onnx
from pipeline.modeling.targets.material import Material
from tests.detectors import SIZE, Deep, noise, own_judge


@pytest.fixture(scope="session")
def graph() -> onnx.ModelProto:
    return to_onnx(Deep().eval(), SIZE, 18, dynamic=True)


@pytest.fixture(scope="session")
def material(graph: onnx.ModelProto) -> Material:
    """Of a detector with three layers that can become integers; what they cost is no matter."""
    single = partial(to_onnx, Deep().eval(), SIZE, 18, dynamic=False)
    return Material(graph, single, noise, own_judge(graph, noise(6)), frames=6, budget=100, sensitivity=(2, 4))
