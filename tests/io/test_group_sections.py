"""What the report says of groups, gaps and preconditions."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.io.documents import Figures, Folder
from pipeline.io.group_sections import groups, preconditions

ROW = {
    "attribute": "object age", "value": "child", "objects": 90, "reference": "adult", "ratio": 0.8, "p_holm": 0.2,
    "raw": {"gap": 0.17, "low": -0.02, "high": 0.36, "p": 0.07}, "stratified": None, "verdict": "not assessable",
    "more_objects": 210, "more_clusters": 2, "unit": "time block", "reading": "",
}  # fmt: skip
SHORT = {"verdict": "not assessable", "reason": "4 of 30 objects", "objects": 4}
CLIPS = {"verdict": "not assessable", "reason": "6 of 10 clusters (time block)", "objects": 90, "recall": 0.9}
SURE = {
    "verdict": "assessable", "objects": 90, "recall": 0.9, "recall_low": 0.8, "recall_high": 0.95, "precision": 0.7,
    "precision_low": 0.6, "precision_high": 0.8,
}  # fmt: skip


@pytest.fixture
def reports(tmp_path: Path) -> Folder:
    for name in ("groups", "heights"):
        path = tmp_path / "reports" / "evaluate" / "figures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))
    return Folder(tmp_path / "reports")


def gaps(*rows: dict[str, Any]) -> Figures:
    counts = {"gap shown": 0, "no gap larger than the limit": 0, "not assessable": len(rows)}
    values = {"max_gap": 0.1, "without": [], "counts": counts, "comparisons": list(rows)}
    return Figures(values, "comparisons.json", "evaluate")


def words(reports: Folder, *rows: dict[str, Any]) -> list[list[str]]:
    figures = Figures({"age": {"adult": SURE, "child": CLIPS, "senior": SHORT}}, "groups.json", "evaluate")
    return [[cell.text for cell in row] for row in groups(figures, gaps(*rows), reports).tables[0].rows]


def test_gaps_come_first_and_shown_ones_before_others(reports: Folder) -> None:
    shown = ROW | {"value": "senior", "verdict": "gap shown", "reading": "the raw gap hides it", "more_objects": 0}
    first, second = words(reports, ROW, shown)
    assert first[0] == "object age: senior"
    assert first[-2:] == ["gap shown", "the raw gap hides it"]
    assert second[4:6] == ["+0.170 (-0.02 to +0.36)", "-"]
    assert second[-1] == "needs about 210 more objects and 2 more clusters (time block)"


def test_gaps_that_nobody_can_measure_say_what_is_lacking(reports: Folder) -> None:
    assert words(reports, ROW | {"raw": None}) == [["object age: child", "90", "210", "2", "time block"]]


def test_groups_without_an_interval_say_why(reports: Folder) -> None:
    adult, child, senior = words(reports)
    assert adult[2:5] == ["0.900", "0.800 to 0.950", "0.700 (0.60 to 0.80)"]
    assert child[2:4] == ["0.900", "not assessable: 6 of 10 clusters (time block)"]
    assert senior[2:4] == ["-", "not assessable: 4 of 30 objects"]


def test_a_sheet_without_evidence(reports: Folder) -> None:
    line = {"title": "Speed", "state": "not assessed", "words": "Not assessed: no track.", "parts": []}
    values = {"recall_floor": 0.9, "smallest_height_px": None, "conditions": [line]}
    section = preconditions(Figures(values, "preconditions.json", "evaluate"), reports)
    assert dict(section.facts)["Smallest height that holds"] == "none shown"
    assert [cell.text for cell in section.tables[0].rows[0]] == ["Speed", "Not assessed: no track.", "none"]
