"""INT8 graphs with explicit Q/DQ, by ONNX Runtime's quantiser: ranges from calibration pictures, scales a channel.

Layer by layer it is measured how far the candidates move when that layer alone computes in integers. While AP on the
validation frames falls by more than the budget, the worst layer is left in float.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from pipeline.modeling.judge import BATCH, Judge, damage
from pipeline.modeling.onnx_graph import IMAGES, body, plain, serialised, silenced

GROUPS = 48  # layers are tried one by one up to this many, else in groups
Pictures = NDArray[np.uint8]  # (N, 3, H, W) letterboxed


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a target likes its integers."""

    activations: QuantType
    operators: tuple[str, ...]  # that compute in integers, or pass them on
    options: Mapping[str, Any] = field(default_factory=dict)  # of ONNX Runtime's quantiser


@dataclass(frozen=True, slots=True, eq=False)
class Quantised:
    """An integer graph and what it costs."""

    graph: bytes
    float_ap: float  # on the validation frames, 0..100
    ap: float
    kept: tuple[str, ...]  # layers in float, worst first
    damage: Mapping[str, float]  # layer or group of layers -> how far the candidates move for its sake alone

    @property
    def drop(self) -> float:
        """AP points that are lost."""
        return self.float_ap - self.ap


class Quantiser:
    """Integer graphs of one float graph. The ranges are measured once.

    Args:
        folder: an empty one, for the quantiser's files.
        graph: float, any batch.
        pictures: the calibration set.
        scheme: of the target.
    """

    def __init__(self, folder: Path, graph: onnx.ModelProto, pictures: Pictures, scheme: Scheme) -> None:
        self._folder, self._pictures, self._scheme = folder, pictures, scheme
        self._float = serialised(graph)
        (folder / "float.onnx").write_bytes(self._float)
        self.nodes = body(graph)

    def make(self, nodes: Iterable[str] | None = None) -> bytes:
        """The graph with these nodes in integers, or all that can be; checked."""
        chosen = sorted(self.nodes if nodes is None else nodes)
        if not chosen:
            return self._float
        out = self._folder / "int8.onnx"
        with silenced():
            quantize_static(
                self._folder / "float.onnx",
                out,
                _Reader(self._pictures),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(self._scheme.operators),
                per_channel=True,
                activation_type=self._scheme.activations,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=chosen,
                extra_options=dict(self._scheme.options),
                calibration_cache_path=self._folder / "ranges.json",
            )
        proto = plain(onnx.load(out))
        onnx.checker.check_model(proto, full_check=True)
        return serialised(proto)


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """One picture at a time, as the library asks for them."""

    def __init__(self, pictures: Pictures) -> None:
        self._left: Iterator[NDArray[np.uint8]] = iter(pictures)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        picture = next(self._left, None)
        return None if picture is None else {IMAGES: picture[None]}


def groups(nodes: Mapping[str, str]) -> dict[str, list[str]]:
    """Nodes by layer, or by the longest part of the layers' names that leaves at most `GROUPS`.

    >>> groups({"conv": "head.0.a", "relu": "head.0.a", "last": "head.1"})
    {'head.0.a': ['conv', 'relu'], 'head.1': ['last']}
    """
    depth = max((name.count(".") + 1 for name in nodes.values()), default=1)
    while True:
        found: dict[str, list[str]] = defaultdict(list)
        for node, layer in nodes.items():
            found[".".join(layer.split(".")[:depth])].append(node)
        if len(found) <= GROUPS or depth == 1:
            return dict(found)
        depth -= 1


def quantise(graph: onnx.ModelProto, pictures: Pictures, scheme: Scheme, judge: Judge, budget: float) -> Quantised:
    """An integer graph that loses at most `budget` points of AP, with as few layers in float as that takes.

    Args:
        graph: float, any batch.
        pictures: the calibration set.
        scheme: of the target.
        judge: the validation frames.
        budget: AP points, 0..100.
    """
    with tempfile.TemporaryDirectory() as folder:
        quantiser = Quantiser(Path(folder), graph, pictures, scheme)
        reference = judge.ap(judge.run(serialised(graph)))
        held = groups(quantiser.nodes)
        moved = _damages(quantiser, held, judge, serialised(graph))
        waiting, kept = sorted(held, key=lambda name: (-moved[name], name)), list[str]()
        while True:
            data = quantiser.make(node for name in held if name not in kept for node in held[name])
            ap = judge.ap(judge.run(data))
            if reference - ap <= budget or not waiting:
                return Quantised(data, reference, ap, tuple(kept), moved)
            kept.append(waiting.pop(0))


def _damages(quantiser: Quantiser, held: Mapping[str, Sequence[str]], judge: Judge, graph: bytes) -> dict[str, float]:
    """What each group does to the candidates when it alone computes in integers."""
    shown = judge.batch[np.linspace(0, len(judge.batch) - 1, min(BATCH, len(judge.batch))).astype(int)]
    expected = judge.run(graph)(shown)
    return {name: damage(expected, judge.run(quantiser.make(nodes))(shown)) for name, nodes in held.items()}


def sensitivity(
    graph: onnx.ModelProto, pictures: Mapping[int, Pictures], scheme: Scheme, judge: Judge
) -> dict[int, float]:
    """AP points lost with all layers in integers, by the number of calibration frames."""
    reference, lost = judge.ap(judge.run(serialised(graph))), {}
    for count, chosen in pictures.items():
        with tempfile.TemporaryDirectory() as folder:
            lost[count] = reference - judge.ap(judge.run(Quantiser(Path(folder), graph, chosen, scheme).make()))
    return lost
