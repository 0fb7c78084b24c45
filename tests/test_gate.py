"""A figure that is missing, or no number, never passes; a refusal is written down and ends well."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import gate
from pipeline.core.errors import DataError
from pipeline.core.params import GateParams, Limit

METRICS = {"AP": 0.6, "false_alarms_per_frame": 0.25, "class": {"person": {"AP50": 0.85}, "semi.truck": {"AP50": 0.7}}}
PARITY = {"passed": True, "max_abs_difference": 0.0001}


def limits(*rows: Limit) -> GateParams:
    return GateParams(limits=rows, max_regression=0.01)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        pytest.param(Limit(metric="class.person.AP50", min=0.8), "", id="above-min"),
        pytest.param(Limit(metric="class.person.AP50", min=0.85), "", id="exactly-min"),
        pytest.param(Limit(metric="class.person.AP50", min=0.9), "0.85 is below 0.9", id="below-min"),
        pytest.param(Limit(metric="false_alarms_per_frame", max=0.3), "", id="below-max"),
        pytest.param(Limit(metric="false_alarms_per_frame", max=0.2), "0.25 is above 0.2", id="above-max"),
        pytest.param(Limit(metric="AP", min=0.5, max=0.55), "0.6 is above 0.55", id="both-bounds"),
        pytest.param(Limit(metric="class.vehicle.AP50", min=0.0), "not measured", id="missing-class"),
        pytest.param(Limit(metric="class.person", min=0.0), "not measured", id="no-figure-but-a-mapping"),
        pytest.param(Limit(metric="class.semi.truck.AP50", min=0.6), "", id="dot-in-a-class-name"),
    ],
)
def test_each_limit(limit: Limit, reason: str) -> None:
    verdict = gate.judge(METRICS, PARITY, limits(limit))
    assert verdict["lines"][1]["reason"] == reason
    assert verdict["lines"][1]["passed"] == (not reason)
    assert verdict["verdict"] == ("refuse" if reason else "promote")
    assert verdict["reasons"] == ([f"{limit.metric}: {reason}"] if reason else [])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "0.9", None], ids=str)
def test_what_is_no_number_was_not_measured(value: object) -> None:
    line = gate.judge({"AP": value}, PARITY, limits(Limit(metric="AP", min=0.0)))["lines"][1]
    assert line == {"metric": "AP", "figure": None, "min": 0.0, "max": None, "passed": False, "reason": "not measured"}


@pytest.mark.parametrize("parity", [{"passed": False}, {"passed": "yes"}, {}], ids=["failed", "odd", "empty"])
def test_without_parity_nothing_is_promoted(parity: dict[str, Any]) -> None:
    verdict = gate.judge(METRICS, parity, limits())
    assert verdict["verdict"] == "refuse"
    assert verdict["reasons"] == ["export.parity: the exported model does not give what the trained one gives"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    section = {"limits": [{"metric": "class.person.AP50", "min": 0.9}], "max_regression": 0.01}
    Path("params.yaml").write_text(yaml.safe_dump({"gate": section}))
    Path("metrics.json").write_text(json.dumps(METRICS))
    Path("export").mkdir()
    Path("export/parity.json").write_text(json.dumps(PARITY))
    return tmp_path


ARGUMENTS = ["--metrics", "metrics.json", "--export", "export", "--out", "out/gate.json"]


def test_a_refusal_is_a_result(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate.main(ARGUMENTS)
    out = capsys.readouterr().out
    assert out == "gate: refuse; 1 of 2 conditions hold\n  class.person.AP50: 0.85 is below 0.9\n"
    first = (folder / "out/gate.json").read_bytes()
    gate.main(ARGUMENTS)
    assert (folder / "out/gate.json").read_bytes() == first
    assert json.loads(first)["verdict"] == "refuse"


@pytest.mark.parametrize("content", [None, "[]", "{"], ids=["missing", "no-object", "broken"])
def test_a_broken_input_is_named(folder: Path, content: str | None) -> None:
    path = folder / "metrics.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DataError, match=r"metrics\.json"):
        gate.main(ARGUMENTS)
    assert not (folder / "out").exists()
