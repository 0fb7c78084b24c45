import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.errors import DataError, SightlineError
from pipeline.runtime.engine_build import Plan, build, kit_artifact, library, plan
from pipeline.runtime.files import read_model
from tests.exports import write_kit


@pytest.mark.parametrize(
    ("precision", "batch", "expected"),
    [
        pytest.param("fp16", "batch", ((1, 8, 8), True), id="any number"),
        pytest.param("int8", 1, ((1, 1, 1), True), id="fixed"),
        pytest.param("fp32", "batch", ((1, 8, 8), False), id="fp32 keeps its mantissa"),
    ],
)
def test_the_plan_of_a_build(
    tmp_path: Path, precision: str, batch: str | int, expected: tuple[tuple[int, int, int], bool]
) -> None:
    model = read_model(write_kit(tmp_path / "kit", precision, batch))
    sizes, tf32 = expected
    fewest, usual, most = ((count, 3, 32, 32) for count in sizes)
    assert plan(model, 8, 512) == Plan(sizes, (fewest, usual, most), 512, tf32)


def test_the_graph_decides_the_precision(tmp_path: Path) -> None:
    folder = write_kit(tmp_path / "kit", "int8")
    assert kit_artifact(folder, "") == kit_artifact(folder, "int8") == "int8"
    with pytest.raises(DataError, match="holds no fp16 graph for TensorRT; choose a --precision of int8"):
        kit_artifact(folder, "fp16")


def test_only_a_kit_can_be_built(write_export: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is the target 'cpu', no TensorRT kit"):
        kit_artifact(write_export(tmp_path), "")


def test_the_library_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(SightlineError, match="NVIDIA's driver, then run `pip install tensorrt-cu13`"):
        library(Path("models/export/nvidia"))


def test_a_hostile_graph_never_reaches_the_builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    kit = write_kit(tmp_path / "nvidia", cut=10)
    with pytest.raises(DataError, match="truncated"):
        build(kit, "", 1, 64)
