import sys
from dataclasses import replace
from pathlib import Path

import openvino
import pytest

from pipeline.core.errors import SightlineError
from pipeline.modeling.targets import intel
from pipeline.modeling.targets.material import Made, Material


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("intel")


@pytest.fixture(scope="module")
def made(folder: Path, material: Material) -> Made:
    return intel.make(folder, material)


def integers(path: Path) -> int:
    """How many weights are int8."""
    model = openvino.Core().read_model(path)
    return sum(op.get_type_name() == "Constant" and op.get_element_type() == openvino.Type.i8 for op in model.get_ops())


def test_float_weights_are_whole_and_integers_are_those_of_the_body(made: Made, folder: Path) -> None:
    assert {name: (it.engine, it.model) for name, it in made.artifacts.items()} == {
        "fp32": ("openvino", "model.xml"),
        "bf16": ("openvino", "model.xml"),
        "int8": ("openvino", "model-int8.xml"),
    }
    model = openvino.Core().read_model(folder / "model.xml")
    assert openvino.Type.f16 not in {
        op.get_element_type() for op in model.get_ops() if op.get_type_name() == "Constant"
    }
    assert (integers(folder / "model.xml"), integers(folder / "model-int8.xml")) == (0, 3)


def test_it_tells_what_integers_cost(made: Made) -> None:
    told = made.quantised["int8"]
    assert (told["float_AP"], told["within_budget"], told["kept_in_float"]) == (100, True, [])


def test_names_do_not_count_what_the_process_has_made_before(
    made: Made, folder: Path, material: Material, tmp_path: Path
) -> None:
    intel.make(tmp_path, material)
    for file in ("model.xml", "model.bin", "model-int8.xml", "model-int8.bin"):
        assert (tmp_path / file).read_bytes() == (folder / file).read_bytes(), file


def test_layers_go_back_to_float_until_the_budget_holds(material: Material, tmp_path: Path) -> None:
    """Calibrated on black pictures alone, ranges clip all others, and AP falls until layers are float again."""
    black = replace(material, pictures=lambda count: 0 * material.pictures(count), budget=1)
    told = intel.make(tmp_path, black).quantised["int8"]
    assert told["kept_in_float"]
    assert integers(tmp_path / "model-int8.xml") == 3 - len(told["kept_in_float"])
    assert told["within_budget"]


def test_without_its_libraries_the_target_says_what_to_install(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(SightlineError, match=r"target intel needs nncf; run: pip install 'sightline\[intel\]'"):
        intel.make(tmp_path, material)
