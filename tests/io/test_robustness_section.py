import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.io.documents import Folder
from pipeline.io.page import Chart, Section
from pipeline.io.robustness_section import robustness

BY_CLASS = {"person": {"AP": 0.3, "AP50": 0.6}, "vehicle": {}}
MEAN = {"AP": 0.3, "AP50": 0.6, "class": BY_CLASS}
SHARE = {"AP": 0.6, "AP50": 0.75, "class": {"person": {"AP": 0.6, "AP50": 0.75}, "vehicle": {}}}
SCORES: dict[str, Any] = {
    "frames": 48, "objects": 46, "cameras": {"hall": 48}, "seed": 0, "variants": 5,
    "plain": {"AP": 0.5, "AP50": 0.8, "class": BY_CLASS},
    "mPC": {"common": MEAN, "all": MEAN}, "rPC": {"common": SHARE, "all": SHARE},
    "corruptions": {
        "fog": {"family": "common", "severity": {"1": {"AP": 0.2}, "3": {}}, "mean": MEAN, "rPC": {"AP": 0.4}},
        "camera_tilt": {"family": "surveillance", "severity": {"1": {"AP": 0.4}}, "mean": MEAN, "rPC": {"AP": 0.3},
                        "steps": ["2 degrees", "4 degrees"]},
    },
    "patch": {
        "area": 0.1, "steps": 40, "objects": 10, "hits": {"plain": 8, "noise": 7, "patch": 3},
        "noise_recall_drop": 0.1, "patch_recall_drop": 0.5,
        "class": {"person": {"objects": 0, "hits": {"plain": 0, "noise": 0, "patch": 0}}},
    },
}  # fmt: skip


def section(folder: Path, scores: dict[str, Any], *pictures: str) -> Section:
    (folder / "robustness/figures").mkdir(parents=True)
    (folder / "robustness/robustness.json").write_text(json.dumps(scores))
    for name in pictures:
        cv2.imwrite(str(folder / f"robustness/figures/{name}.png"), np.zeros((2, 2, 3), np.uint8))
    reports = Folder(folder)
    return robustness(reports.figures("robustness/robustness.json", "robustness"), reports)


def cells(it: Section, table: int) -> list[list[str]]:
    return [[cell.text for cell in row] for row in it.tables[table].rows]


def test_every_figure_is_shown(tmp_path: Path) -> None:
    it = section(tmp_path, SCORES, "corruptions", "patch")
    assert dict(it.facts) == {
        "Frames": "48", "Objects in them": "46", "AP on plain frames": "0.500", "rPC, common": "0.600",
        "rPC, all": "0.600",
    }  # fmt: skip
    assert cells(it, 0)[:2] == [
        ["person", "common", "0.300", "0.600", "0.600", "0.750"],
        ["vehicle", "common", "-", "-", "-", "-"],
    ]
    assert cells(it, 1) == [
        ["camera tilt", "surveillance", "0.300", "0.400", "-", "2 degrees, 4 degrees"],
        ["fog", "common", "0.400", "0.200", "-", ""],
    ]
    assert ["Adversarial patch", "all", "10", "3", "0.500"] in cells(it, 2)
    assert ["Adversarial patch", "person", "0", "0", "-"] in cells(it, 2)
    assert "at most 10% of their box" in it.tables[2].caption
    assert len(it.pictures) == 3


def test_a_patch_that_was_not_assessed_says_why(tmp_path: Path) -> None:
    it = section(tmp_path, SCORES | {"patch": {"not_assessed": "the model is not differentiable here"}}, "corruptions")
    assert cells(it, 2) == [["Adversarial patch", "not assessed: the model is not differentiable here"]]
    assert len(it.pictures) == 2


def test_no_corruption_and_no_object_still_make_a_section(tmp_path: Path) -> None:
    bare = SCORES | {"corruptions": {}, "mPC": {}, "rPC": {}, "plain": {"class": {}}}
    it = section(tmp_path, bare, "corruptions")
    assert ("AP on plain frames", "not measured") in it.facts
    assert cells(it, 0) == []


def test_a_missing_picture_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run: dvc repro robustness"):
        section(tmp_path, SCORES)


def test_corruptions_are_drawn_worst_first_with_their_severities(tmp_path: Path) -> None:
    chart = section(tmp_path, SCORES, "corruptions").pictures[0]
    assert isinstance(chart, Chart)
    told = ["camera tilt: 0.3, 30% left", "fog: 0.3, 40% left", "camera tilt, severity 1: 0.4", "fog, severity 1: 0.2"]
    assert re.findall(r'data-tip="([^"]+)"', chart.svg) == told
    assert "camera tilt costs most" in chart.alt
    assert "broken line: 0.500 on plain frames" in chart.caption
