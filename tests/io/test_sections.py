"""Sections of the report that evaluation's figures fill; what they look like on the page is the report's test."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.io import sections
from pipeline.io.documents import Figures, Folder
from pipeline.io.page import Chart, Section, Table

POINT = {
    "objects": 9,
    "recall": 0.8,
    "precision": 0.9,
    "f_beta": 0.85,
    "false_alarms": 1,
    "false_alarms_per_frame": 0.1,
}


def operating(rule: str, hours: float | None) -> Figures:
    chosen = {
        "frames": 10,
        "hours": hours,
        "rule": {"rule": rule, "beta": 2.0, "budget": 0.5},
        "class": {"person": POINT},
    }
    return Figures({"threshold": {"person": 0.4}, "chosen_on": chosen}, "evaluate/operating.json", "evaluate")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        pytest.param("f_beta", "highest F2", id="f-beta"),
        pytest.param("false_alarms_per_frame", "at most 0.5 false alarms per frame and class", id="budget"),
    ],
)
def test_the_rule_in_words(rule: str, words: str) -> None:
    assert dict(sections.operating_point(operating(rule, 0.5)).facts)["Rule"] == words


@pytest.mark.parametrize(("hours", "told"), [(0.5, "30.0"), (None, "frames have no times")])
def test_footage_in_minutes(hours: float | None, told: str) -> None:
    assert dict(sections.operating_point(operating("f_beta", hours)).facts)["Minutes of footage"] == told


def metrics() -> Figures:
    causes = {"background": 2, "other_class": 1, "class": {"person": {"background": 2, "other_class": 1}}}
    values = {
        "tide": {"count": {"missed": 0}},  # without an object there is no average precision to gain
        "false_alarms_by_cause": causes,
        "calibration": {"class": {"person": {"detections": 3}}},
    }
    return Figures(values, "evaluate/metrics.json", "evaluate")


@pytest.fixture
def reports(tmp_path: Path) -> Folder:
    for file, _, _ in (sections.ALARMS_PICTURE, sections.CONFUSION, sections.CALIBRATION_PICTURE):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes())
    return Folder(tmp_path)


def rows(table: Table) -> dict[str, list[str]]:
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}


def test_what_is_not_defined_has_no_figure(reports: Folder) -> None:
    tide, causes = sections.errors(metrics(), reports).tables
    assert rows(tide)["missed"][:2] == ["0", "-"]
    assert rows(causes) == {"background": ["2", "2"], "other class": ["1", "1"]}
    fitted = Figures({"calibration": {"person": {"objects": 4, "reason": "too few"}}}, "operating.json", "evaluate")
    (calibration,) = sections.calibration(metrics(), fitted, reports).tables
    assert rows(calibration) == {"person": ["3", *["not assessable"] * 4, "4", "too few"]}


def test_a_missing_picture_names_its_stage(reports: Folder) -> None:
    (reports.path / "evaluate/figures/false_alarms.png").unlink()
    with pytest.raises(DataError, match="dvc repro evaluate"):
        sections.errors(metrics(), reports)


def test_a_benchmark_without_an_error_has_no_gallery(reports: Folder) -> None:
    assert sections.failures(reports).notes == ("No miss and no false alarm on the benchmark.",)


def drawn(section: Section) -> list[Chart]:
    return [it for it in section.pictures if isinstance(it, Chart)]


def measured(reports: Folder, curves: str, bins: str) -> list[Chart]:
    (reports.path / sections.CURVES).write_text(f"recall,precision,class\n{curves}")
    (reports.path / sections.IOUS).write_text(f"iou,objects\n{bins}")
    person = {"objects": 9, "AP50": 0.8, "recall": 0.5, "precision": 0.75}
    values = {"frames": 3, "class": {"person": person, "vehicle": {"objects": 0}}, "mean_iou": 0.8}
    return drawn(sections.benchmark(Figures(values, "metrics.json", "evaluate"), operating("f_beta", None), reports))


def test_curves_carry_their_operating_points(reports: Folder) -> None:
    curve, bins = measured(reports, "0.00,1.0,person\n1.00,0.5,person\n", "0.50,4\n0.75,12\n")
    assert curve.legend == ("person",)
    assert 'data-tip="person, operating point: precision 0.75, recall 0.5"' in curve.svg
    assert curve.alt == "Precision over recall by class. person: AP50 0.800"
    assert 'data-tip="0.75 to 1: 12 objects"' in bins.svg
    assert bins.values is not None
    assert rows(bins.values) == {"0.50": ["4"], "0.75": ["12"]}


def test_a_benchmark_on_which_nothing_was_found_has_empty_plots(reports: Folder) -> None:
    curve, _ = measured(reports, "", "")
    assert curve.legend == ()
    assert "data-tip" not in curve.svg


def test_a_table_without_its_columns_names_the_stage(reports: Folder) -> None:
    (reports.path / sections.IOUS).write_text("x,y\n")
    with pytest.raises(DataError, match=r"iou.csv has no column iou, objects; run: dvc repro -f evaluate"):
        reports.table(sections.IOUS, "evaluate", ("iou", "objects"))


def test_costs_are_drawn_and_the_worst_is_named(reports: Folder) -> None:
    gains = {"missed": 0.2, "background": 0.05, "false_negative": 0.3}
    values = metrics() | {"tide": {"count": {"missed": 3, "background": 9}, "dAP": gains}}
    (costs,) = drawn(sections.errors(Figures(values, "metrics.json", "evaluate"), reports))
    assert costs.alt.endswith("missed costs most: 0.200")
    assert 'data-tip="background: 0.05, 9 times"' in costs.svg
    assert 'data-tip="false negative: 0.3, all of them"' in costs.svg


def test_costs_that_nobody_could_measure_are_none(reports: Folder) -> None:
    (costs,) = drawn(sections.errors(metrics(), reports))
    assert costs.alt.endswith("nothing was measured")
    assert "data-tip" not in costs.svg
