"""What every target is made of, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import onnx

from pipeline.io.files import file_sha256
from pipeline.modeling.judge import Judge
from pipeline.modeling.quantise import Pictures
from pipeline.runtime.contract import Artifact


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """The float model and what its integers are made and judged with."""

    graph: onnx.ModelProto  # any batch
    single: Callable[[], onnx.ModelProto]  # makes the graph for one picture
    pictures: Callable[[int], Pictures]  # the calibration set of so many frames
    judge: Judge
    frames: int  # of the calibration set
    budget: float  # AP points that integers may cost
    sensitivity: tuple[int, ...]  # sizes of the calibration set to try


@dataclass(frozen=True, slots=True)
class Made:
    """The files of a target, described."""

    artifacts: Mapping[str, Artifact]
    default: str
    quantised: Mapping[str, Any]  # artifact -> what fewer bits cost, for export.json
    packages: tuple[str, ...]  # that made them
    extra: Mapping[str, Any] = field(default_factory=dict)  # what else export.json tells of the target


def artifact(
    folder: Path,
    files: tuple[str, ...],
    engine: Literal["onnxruntime", "openvino", "tensorrt"],
    precision: Literal["fp32", "fp16", "bf16", "int8"],
    batch: int = 0,
) -> Artifact:
    """The contract's entry for files that are there; the model first, then its sidecars."""
    hashes = {file: file_sha256(folder / file) for file in files}
    return Artifact(engine=engine, precision=precision, batch=batch, model=files[0], files=hashes)


def points(value: float) -> float:
    """AP, or a loss of it, as reports give it: 0..100, two digits; never -0."""
    return round(value, 2) + 0.0


def cost(float_ap: float, ap: float, budget: float, kept: tuple[str, ...]) -> dict[str, Any]:
    """What fewer bits cost on the validation frames, for export.json."""
    drop = float_ap - ap
    figures = {"float_AP": points(float_ap), "AP": points(ap), "drop": points(drop), "max_drop": budget}
    return {**figures, "within_budget": drop <= budget, "kept_in_float": list(kept)}
