"""What the page says of a field test, of one of nothing, and of one without events."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import DataError
from pipeline.io.documents import Figures, Folder
from pipeline.io.fieldtest_section import NOTHING as NOT_ASSESSABLE
from pipeline.io.fieldtest_section import field_headline, field_test
from pipeline.io.page import Chart, Picture, Section, Video
from tests.tried import NOTHING, tried, write_clips


def document(values: dict[str, Any]) -> Figures:
    return Figures(values, "reports/fieldtest/fieldtest.json", "fieldtest")


def section(root: Path, **changes: Any) -> Section:
    values = tried("lobby") | changes
    write_clips(root / "reports/fieldtest", tried("lobby"))
    return field_test(document(values), Folder(root / "reports"))


def rows(it: Section, title: str) -> list[list[str]]:
    (found,) = [table for table in it.tables if table.caption.startswith(title)]
    assert found.source == "reports/fieldtest/fieldtest.json"
    return [[cell.text for cell in row] for row in found.rows]


def test_the_operators_figures_come_first(tmp_path: Path) -> None:
    facts = dict(section(tmp_path).facts)
    assert facts["Watched"] == "45.0 minutes"
    assert facts["Artifact"] == "cpu/int8"
    assert facts["Events found"] == "2 of 3 (0.09 to 0.99)"  # Clopper and Pearson (1934): 0.094, 0.992
    assert facts["False alarms an hour"] == "1.3 (0.0 to 7.4)"  # Garwood (1936): 0.0253 and 5.572 in 0.75 h
    assert facts["Time to detect"] == "0.8 s (90 %: 0.8 s)"


def test_parts_have_their_rows_and_what_was_not_asked_none(tmp_path: Path) -> None:
    found = {row[0]: row[1:] for row in rows(section(tmp_path), "Events by part")}
    assert found.keys() == {
        "all", "camera lobby", "camera yard", "class person", "zone door", "condition night"
    }  # fmt: skip
    assert found["camera yard"][:4] == ["15.0 minutes", "0", "0", "-"]
    assert found["camera yard"][5] == "0.0 (0.0 to 14.8)"
    assert found["condition night"][0] == "-"
    assert found["condition night"][5] == "-"


def test_what_hours_without_a_false_alarm_say_is_told(tmp_path: Path) -> None:
    assert any("45.0 minutes only show that there are fewer than 4.92 an hour" in it for it in section(tmp_path).notes)


def test_what_was_left_out_is_named(tmp_path: Path) -> None:
    assert "Left out: old.mp4: broken video: no frame." in section(tmp_path).notes
    assert not any("Left out" in note for note in section(tmp_path / "other", left_out={}).notes)


def test_the_condition_of_the_cameras(tmp_path: Path) -> None:
    it = section(tmp_path)
    assert [row[:6] for row in rows(it, "Condition of the cameras")] == [
        ["lobby", "lobby.mp4", "defocused", "31.5", "-", "0.42"],
        ["gate", "gate.mp4", "nothing", "-", "-", "-"],
        ["yard", "yard.mp4", "not assessable: too short", "-", "-", "-"],
    ]
    (table,) = [table for table in it.tables if table.caption == "Condition of the cameras"]
    assert [row[2].kind for row in table.rows] == ["bad", "good", "quiet"]


def test_a_finding_is_shown_before_and_then(tmp_path: Path) -> None:
    (shown,) = [media for media in section(tmp_path).pictures if isinstance(media, Picture)]
    assert shown.caption == "Before and then: lobby, defocused from 31.5 s of lobby.mp4"
    assert shown.uri.startswith("data:image/jpeg;base64,")


def test_drift_is_told_apart_from_the_cameras_condition(tmp_path: Path) -> None:
    it = section(tmp_path)
    assert rows(it, "Drift of the detector")[0] == ["lobby", "lobby.mp4", "drift", "confidence fell: delta -0.61"]
    (table,) = [table for table in it.tables if table.caption.startswith("Drift")]
    assert [row[2].kind for row in table.rows] == ["bad", "quiet"]


def test_tracking_is_there_where_there_was_truth(tmp_path: Path) -> None:
    assert [row[0] for row in rows(section(tmp_path), "Tracking")] == ["all", "lobby"]
    assert not [table for table in section(tmp_path / "other", tracking=None).tables if "Tracking" in table.caption]


def test_each_case_has_a_clip_beside_the_page_and_a_still_in_it(tmp_path: Path) -> None:
    it = section(tmp_path)
    clips = [media for media in it.pictures if isinstance(media, Video)]
    assert [clip.src for clip in clips] == ["fieldtest/clips/01-missed.mp4", "fieldtest/clips/02-false-alarm.mp4"]
    assert clips[0].caption == "Missed: person, lobby (120.0 to 130.0 s of lobby.mp4)"
    assert clips[1].caption == "False alarm: person, lobby (1500.0 to 1509.0 s of lobby.mp4, score 0.90)"
    assert all(clip.poster.startswith("data:image/jpeg;base64,") for clip in clips)
    assert [row[0] for row in rows(it, "What was missed, false, and found")] == ["missed", "false alarm"]


def test_without_a_case_there_is_no_clip(tmp_path: Path) -> None:
    it = section(tmp_path, cases=[])
    assert not [media for media in it.pictures if isinstance(media, Video)]
    assert not [table for table in it.tables if table.caption.startswith("What was missed")]


def test_a_still_that_is_gone_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro fieldtest"):
        field_test(document(tried("lobby")), Folder(tmp_path))


def test_charts_tell_their_figures(tmp_path: Path) -> None:
    charts = {it.caption: it for it in section(tmp_path).pictures if isinstance(it, Chart)}
    assert "lobby 0.67 (0.09 to 0.99)" in charts["Event recall, with 95 % intervals"].alt
    assert "from 0.33 missed and 1.3 false alarms an hour at 0.4" in charts["Missed share by operating threshold"].alt
    assert (
        "to 0.67 missed and 0.0 false alarms an hour at 0.8"
        in charts["False alarms an hour by operating threshold"].alt
    )


def test_footage_in_which_nothing_happens(tmp_path: Path) -> None:
    quiet = tried("lobby")["camera"]["yard"]
    it = section(tmp_path, **quiet, camera={"yard": quiet}, condition={}, zone={}, **{"class": {}}, cases=[],
                 curve=NOTHING["curve"])  # fmt: skip
    facts = dict(it.facts)
    assert (facts["Events found"], facts["Time to detect"]) == ("0 of 0 (not assessable)", "-")
    assert facts["False alarms an hour"] == "0.0 (0.0 to 14.8)"
    assert not [media for media in it.pictures if not isinstance(media, Picture)]


@pytest.mark.parametrize(
    ("left_out", "told"),
    [
        pytest.param({}, "data/fieldtest/README.md says what to put there", id="no clip"),
        pytest.param({"a.mp4": "no events"}, "Left out: a.mp4: no events.", id="none that could be tried"),
    ],
)
def test_a_field_test_of_nothing_says_so(tmp_path: Path, left_out: dict[str, str], told: str) -> None:
    it = field_test(document(NOTHING | {"left_out": left_out}), Folder(tmp_path))
    assert it.notes[0].startswith(NOT_ASSESSABLE)
    assert told in it.notes[0]
    assert (it.tables, it.pictures) == ((), ())


@pytest.mark.parametrize(
    ("found", "value", "note"),
    [
        pytest.param(tried("lobby"), "2 of 3", "1 false alarms in 45.0 minutes", id="tried"),
        pytest.param(NOTHING, "not assessed", "no held-out events", id="nothing tried"),
    ],
)
def test_the_headline(found: dict[str, Any], value: str, note: str) -> None:
    it = field_headline(document(found))
    assert (it.value, it.note, it.section) == (value, note, "fieldtest")
