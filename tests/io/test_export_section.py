"""What ships, as the report tells it: parity, the price of fewer bits, files, and where they come from."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import DataError
from pipeline.io.documents import Folder
from pipeline.io.export_section import shipped
from pipeline.io.page import Section

CONTRACT = {
    "model": "nano", "opset": 18, "input": {"dtype": "uint8", "color": "RGB", "width": 320, "height": 192},
    "artifacts": {"fp32": {"files": {"model.onnx": "ab" * 32}}}, "weights": "ef" * 32, "training_data": "01" * 32,
    "producers": {"torch": "2.15.0"},
}  # fmt: skip
RUN = {"target": "cpu", "artifact": "fp32", "batch": 8, "boxes": 0.5, "scores": 0.25, "reason": "", "passed": True}
FEWER: dict[str, Any] = {
    "float_AP": 71.5, "AP": 71.25, "kept_in_float": [], "damage": {"a": 0.1, "b": 0.4, "c": 0.3, "d": 0.2},
}  # fmt: skip


def section(folder: Path, *, runs: list[dict[str, Any]], fewer: dict[str, Any]) -> Section:
    targets = {"cpu": {"fewer_bits": fewer}}
    files = {
        "parity.json": {"passed": all(run["passed"] for run in runs), "frames": 16, "rtol": 0.001, "atol": 0.001,
                        "runs": runs},
        "export.json": {"calibration": {"frames": 128}, "targets": targets},
        "cpu/contract.json": CONTRACT,
    }  # fmt: skip
    for name, content in files.items():
        path = folder / "export" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return shipped(Folder(folder))


def cells(it: Section, table: int) -> list[list[str]]:
    return [[cell.text for cell in row] for row in it.tables[table].rows]


def test_files_are_told_with_their_hashes_and_what_they_were_made_by(tmp_path: Path) -> None:
    it = section(tmp_path, runs=[RUN], fewer={"int8": FEWER})
    assert dict(it.facts)["Parity"] == "holds"
    assert cells(it, 0) == [["cpu/fp32", "8", "0.500", "0.250", "equal"]]
    assert cells(it, 2) == [["cpu/fp32", "model.onnx", "ab" * 32]]
    assert ["torch", "2.15.0"] in cells(it, 3)


def test_the_layers_that_suffer_most_come_first(tmp_path: Path) -> None:
    it = section(tmp_path, runs=[RUN], fewer={"int8": FEWER})
    assert cells(it, 1) == [["cpu/int8", "71.500", "71.250", "none", "b, c, d", "-"]]


def test_a_run_that_differs_says_how(tmp_path: Path) -> None:
    broken = RUN | {"passed": False, "reason": "another number of candidates", "boxes": None}
    it = section(tmp_path, runs=[RUN, broken], fewer={})
    assert dict(it.facts)["Parity"] == "FAILED"
    assert it.tables[0].rows[1][-1].kind == "bad"
    assert cells(it, 0)[1][2:] == ["-", "0.250", "another number of candidates"]


def test_a_target_without_its_contract_names_the_stage(tmp_path: Path) -> None:
    section(tmp_path, runs=[RUN], fewer={})
    (tmp_path / "export/cpu/contract.json").unlink()
    with pytest.raises(DataError, match="run: dvc repro export"):
        shipped(Folder(tmp_path))
