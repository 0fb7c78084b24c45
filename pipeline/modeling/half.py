"""Half precision written into a graph, for engines that take types from the graph alone."""

from collections.abc import Collection

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

FLOAT_INPUTS = {("Resize", 1), ("Resize", 2)}  # float by ONNX's definition: region and scales


def to_half(graph: onnx.ModelProto, nodes: Collection[str]) -> onnx.ModelProto:
    """The same graph with `nodes` in half precision, casts at their borders, and everything else in float; checked.

    Args:
        graph: float.
        nodes: names of the nodes that compute in half precision; no output of the graph is theirs.
    """
    writer = _Writer(graph, nodes)
    for node in graph.graph.node:
        writer.write(node)
    found = writer.finish()
    onnx.checker.check_model(found, full_check=True)
    return found


class _Writer:
    """Copies a graph node by node, in its order."""

    def __init__(self, graph: onnx.ModelProto, nodes: Collection[str]) -> None:
        self._graph, self._inside = graph, nodes
        self._constants = {tensor.name: tensor for tensor in graph.graph.initializer}
        self._floats = _floats(graph)
        self._half = {name for node in graph.graph.node if node.name in nodes for name in node.output}
        self._written: list[NodeProto] = []
        self._added: dict[str, TensorProto] = {}
        self._cast: dict[str, str] = {}  # tensor -> the same in the other precision

    def write(self, node: NodeProto) -> None:
        copy = NodeProto()
        copy.CopyFrom(node)
        for place, name in enumerate(node.input):
            wanted = node.name in self._inside and (node.op_type, place) not in FLOAT_INPUTS
            if name in self._floats and wanted != (name in self._half):
                copy.input[place] = self._other(name, half=wanted)
        self._written.append(copy)

    def _other(self, name: str, *, half: bool) -> str:
        if name not in self._cast:
            self._cast[name] = f"{name}_{'half' if half else 'float'}"
            if name in self._constants:
                values = numpy_helper.to_array(self._constants[name]).astype(np.float16)
                self._added[name] = numpy_helper.from_array(values, self._cast[name])
            else:
                kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
                self._written.append(
                    helper.make_node("Cast", [name], [self._cast[name]], f"cast_{self._cast[name]}", to=kind)
                )
        return self._cast[name]

    def finish(self) -> onnx.ModelProto:
        found = onnx.ModelProto()
        found.CopyFrom(self._graph)
        del found.graph.node[:], found.graph.initializer[:], found.graph.value_info[:]
        found.graph.node.extend(self._written)
        used = {name for node in self._written for name in node.input}
        held = [*self._graph.graph.initializer, *self._added.values()]
        found.graph.initializer.extend(tensor for tensor in held if tensor.name in used)
        return found


def _floats(graph: onnx.ModelProto) -> set[str]:
    """Names of the float tensors."""
    known = onnx.shape_inference.infer_shapes(graph).graph
    values = [*known.value_info, *known.input, *known.output]
    found = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {tensor.name for tensor in known.initializer if tensor.data_type == TensorProto.FLOAT}
