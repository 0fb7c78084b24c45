import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.io.documents import Folder
from pipeline.io.explain_section import inside
from pipeline.io.page import Section

COSTS: dict[str, Any] = {
    "parameters": 1000, "macs": 2_000_000_000,
    "bytes": {"weights": 4_285_480, "cpu": {"fp32": 4_000_000, "int8": 1_100_000}},
}  # fmt: skip
SIDE = {"p5": 10.2, "p50": 40.0, "p95": 99.6}
REPORT: dict[str, Any] = {
    "input": [320, 192], "frames": 16,
    "parts": [{"name": "backbone", "parameters": 750, "macs": 500_000_000}],
    "levels": [
        {"stride": 8, "channels": 48, "width": 40, "height": 24, "field": [304, 192], "effective": 74.9, "holds": 0.1},
        {"stride": 16, "channels": 48, "width": 20, "height": 12, "field": [320, 192], "effective": 105.5},
        {"stride": 32, "channels": 48, "width": 10, "height": 6, "field": [0, 0], "effective": 0.0},
    ],
    "objects": {"person": {"objects": 9, "width": SIDE, "height": SIDE}, "vehicle": {"objects": 0}},
    "first": {"name": "stem", "shape": [16, 3, 3, 3]},
    "layers": [{"name": "stem", "filters": 16, "dead": 0}, {"name": "mid", "filters": 32, "dead": 8}],
    "cases": [
        {"kind": "miss", "class": "person", "score": 0.25, "inside": 0.5, "area": 0.1, "camera": "hall", "index": 3},
        {"kind": "hit", "class": "person", "not_assessed": "no pixel moves the score", "camera": "hall", "index": 4},
    ],
}  # fmt: skip
ALL = ("fields", "maps", "attention", "filters")


def section(folder: Path, report: dict[str, Any], *pictures: str) -> Section:
    (folder / "explain/figures").mkdir(parents=True)
    (folder / "explain/costs.json").write_text(json.dumps(COSTS))
    (folder / "explain/explain.json").write_text(json.dumps(report))
    for name in pictures:
        cv2.imwrite(str(folder / f"explain/figures/{name}.png"), np.zeros((2, 2, 3), np.uint8))
    reports = Folder(folder)
    costs, told = (reports.figures(f"explain/{name}.json", "explain") for name in ("costs", "explain"))
    return inside(costs, told, reports)


def tables(it: Section) -> dict[str, list[list[str]]]:
    return {table.caption: [[cell.text for cell in row] for row in table.rows] for table in it.tables}


def test_every_figure_is_shown(tmp_path: Path) -> None:
    it = section(tmp_path, REPORT, *ALL)
    assert dict(it.facts) == {
        "Parameters": "1\u202f000", "Multiply-adds of a picture": "2 G", "Input": "320 x 192 px", "Weights": "4.29 MB",
        "Dead filters": "8 of 48",
    }  # fmt: skip
    assert list(tables(it).values()) == [
        [
            ["stride 8", "40 x 24", "48", "304 x 192", "75", "10%"],
            ["stride 16", "20 x 12", "48", "whole input", "106", "-"],
            ["stride 32", "10 x 6", "48", "not measured", "0", "-"],
        ],
        [["person", "9", "40 (10 to 100)", "40 (10 to 100)"], ["vehicle", "0", "-", "-"]],
        [["backbone", "750", "75%", "0.5 G", "25%"]],
        [["weights", "4.29 MB"], ["cpu/fp32", "4 MB"], ["cpu/int8", "1.1 MB"]],
        [["mid", "32", "8", "25%"]],
        [
            ["miss", "person", "0.250", "50%", "10%", "hall", "3"],
            ["hit", "person", "-", "not assessed: no pixel moves the score", "-", "hall", "4"],
        ],
    ]
    assert [picture.source for picture in it.pictures] == [
        f"{tmp_path.name}/explain/figures/{name}.png" for name in ALL
    ]


def test_what_a_detector_does_not_have_is_said_or_left_out(tmp_path: Path) -> None:
    it = section(tmp_path, REPORT | {"layers": [], "cases": [], "first": None}, "fields", "maps")
    assert dict(it.facts)["Dead filters"] == "not assessed: no activation to judge by"
    assert len(it.tables) == 4
    assert len(it.pictures) == 2


def test_a_missing_picture_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run: dvc repro explain"):
        section(tmp_path, REPORT, "fields")
