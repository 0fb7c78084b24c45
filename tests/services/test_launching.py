import json
from pathlib import Path

import pytest

from pipeline.core.errors import SightlineError
from pipeline.core.params import ComputeParams, TrainParams
from pipeline.services.launching import launch
from tests import steps
from tests.modeling.test_loop import PARAMS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with section `train` of fifty steps, at a rate at which rounding grows little."""
    monkeypatch.chdir(ROOT)  # what `python -m` looks in
    path = tmp_path / "params.yaml"
    slow = PARAMS["optimizer"] | {"lr": 0.0005}
    path.write_text(json.dumps({"train": PARAMS | {"epochs": 13, "optimizer": slow}}))
    return path


@pytest.fixture
def alone(section: Path, tmp_path: Path) -> list[float]:
    return steps.losses(TrainParams.load("train", section), tmp_path / "bad")


def compute(engine: str, processes: int = 2) -> ComputeParams:
    return ComputeParams.parse("compute", {"engine": engine, "workers": 0, "processes": processes, "address": ""})


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_two_processes_take_the_steps_of_one(engine: str, section: Path, alone: list[float], tmp_path: Path) -> None:
    launch("tests.steps", [str(section), str(tmp_path / "out.json")], compute(engine))
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["processes"] == 2
    assert len(found["losses"]) == steps.STEPS
    assert found["losses"] == pytest.approx(alone, abs=1e-6)
    assert alone[-1] < 0.7 * alone[0]  # they were steps worth comparing


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_failed_process_fails_the_stage(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SightlineError, match=r"tests\.steps"):
        launch("tests.steps", [str(tmp_path / "absent.yaml"), str(tmp_path / "out.json")], compute(engine))
