"""What the report says of the frames to label next."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.io.documents import Figures, Folder
from pipeline.io.page import Section
from pipeline.io.select_section import SHOWN, selection

ROW = {
    "camera": "hall", "clip": "hall", "index": 7, "score": 0.615, "reason": "2 boxes near the threshold",
    "signals": {"uncertainty": 0.8, "disagreement": 0.1, "weakness": 0.5, "rarity": 0.9},
}  # fmt: skip
AGAIN = ROW | {"signals": {"uncertainty": 0.8, "disagreement": 0.1, "weakness": 0.5, "suspicion": 0.7}}
REPORT = {
    "budget": 50, "unlabelled": 1571, "left_out": {"the split would give it to benchmark": 388, "nothing": 0},
    "labelled": 289, "in_doubt": 11, "frames": [ROW, ROW | {"camera": "yard"}, ROW], "second_looks": [AGAIN],
}  # fmt: skip


@pytest.fixture
def reports(tmp_path: Path) -> Folder:
    path = tmp_path / "reports" / "select" / "sheet.png"
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))
    return Folder(tmp_path / "reports")


def section(reports: Folder, **changes: Any) -> Section:
    return selection(Figures(REPORT | changes, "select.json", "select"), reports)


def test_what_is_chosen_and_what_is_not(reports: Folder) -> None:
    told = section(reports)
    facts = dict(told.facts)
    assert facts["Chosen"] == "3 of at most 50"
    assert facts["By camera"] == "hall 2, yard 1"
    assert facts["Labels in doubt, train and val"] == "11 of 289 frames"
    assert told.notes[0] == "Left out of the unlabelled ones: 388: the split would give it to benchmark."
    assert "push --only reports/select/frames.txt" in told.notes[1]
    assert "not surely better than chance" in told.notes[-1]
    assert len(told.pictures) == 1


def test_each_frame_says_why(reports: Folder) -> None:
    new, again = section(reports).tables
    first = [cell.text for cell in new.rows[0]]
    assert first == ["hall", "hall", "7", "0.61", "0.80", "0.10", "0.50", "0.90", "2 boxes near the threshold"]
    assert [cell.text for cell in again.rows[0]][4:8] == ["0.70", "0.80", "0.10", "0.50"]
    assert (new.header[7], again.header[4]) == ("Rarity", "Suspicion")


def test_a_long_list_is_cut(reports: Folder) -> None:
    (new, _) = section(reports, frames=[ROW] * 50).tables
    assert len(new.rows) == SHOWN
    assert new.caption == "The first 20 frames to label"


def test_where_everything_is_labelled_it_says_what_to_do(tmp_path: Path) -> None:
    told = section(Folder(tmp_path), frames=[], second_looks=[], unlabelled=0, left_out={})
    assert told.notes[0].startswith("There is no frame to label. Record more")
    assert (told.tables, told.pictures) == ((), ())
    assert dict(told.facts)["By camera"] == "-"


def test_a_missing_sheet_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro select"):
        section(Folder(tmp_path))
