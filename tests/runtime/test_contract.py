import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import DataError
from pipeline.runtime.contract import Contract

WriteExport = Callable[..., Path]
ARTIFACT = {
    "engine": "onnxruntime",
    "precision": "fp32",
    "batch": 0,
    "model": "model.onnx",
    "files": {"model.onnx": "ab" * 32},
}


def test_a_contract_survives_the_disk(write_export: WriteExport, tmp_path: Path) -> None:
    path = write_export(tmp_path) / "contract.json"
    contract = Contract.read(path)
    assert contract.classes == ("person", "vehicle")
    assert {name: it.batch for name, it in contract.artifacts.items()} == {"fp32": 0, "fp32-b1": 1}
    path.write_text(json.dumps(contract.model_dump(mode="json")))
    assert Contract.read(path) == contract


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"letterbox": "centre"}, id="unknown key"),
        pytest.param({"classes": None}, id="missing value"),
        pytest.param({"opset": "newest"}, id="wrong type"),
        pytest.param({"input": {"name": "images", "layout": "NHWC"}}, id="other layout"),
        pytest.param({"thresholds": {"person": "NaN of nothing"}}, id="threshold"),
        pytest.param({"confidence": {"person": [[0.5, 0.1], [0.4, 0.2]]}}, id="scores of knots fall"),
        pytest.param({"confidence": {"person": [[0.4, 0.2], [0.5, 0.1]]}}, id="meanings of knots fall"),
        pytest.param({"confidence": {"person": [[0.4, 1.2]]}}, id="meaning above 1"),
        pytest.param({"confidence": {"person": [[i / 40, 0.5] for i in range(33)]}}, id="too many knots"),
        pytest.param({"evidence": {"person": {"rule": "F1"}}}, id="evidence without its size"),
        pytest.param({"default": "int8"}, id="default that is no artifact"),
        pytest.param({"artifacts": {}}, id="no artifact"),
        pytest.param({"artifacts": {"fp32": ARTIFACT | {"model": "other.onnx"}}}, id="model without a hash"),
        pytest.param({"artifacts": {"fp32": ARTIFACT | {"engine": "caffe"}}}, id="unknown engine"),
        pytest.param({"artifacts": {"fp32": ARTIFACT | {"batch": -1}}}, id="negative batch"),
        pytest.param({"artifacts": {"fp32": ARTIFACT | {"files": {"model.onnx": "ab"}}}}, id="hash that is none"),
    ],
)
def test_what_is_no_contract_is_refused(write_export: WriteExport, tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="is no contract"):
        Contract.read(write_export(tmp_path, **changes) / "contract.json")


def test_a_model_without_a_contract_does_not_ship(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a model ships with its contract"):
        Contract.read(tmp_path / "contract.json")
