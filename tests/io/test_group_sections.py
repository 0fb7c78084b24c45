"""What the report says of groups, gaps and preconditions."""

from typing import Any

from pipeline.io.documents import Figures
from pipeline.io.group_sections import MOST_ROWS, groups, preconditions
from pipeline.io.page import Chart, Section

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


def gaps(*rows: dict[str, Any]) -> Figures:
    counts = {"gap shown": 0, "no gap larger than the limit": 0, "not assessable": len(rows)}
    values = {"max_gap": 0.1, "without": [], "counts": counts, "comparisons": list(rows)}
    return Figures(values, "comparisons.json", "evaluate")


def words(*rows: dict[str, Any]) -> list[list[str]]:
    figures = Figures({"age": {"adult": SURE, "child": CLIPS, "senior": SHORT}}, "groups.json", "evaluate")
    return [[cell.text for cell in row] for row in groups(figures, gaps(*rows)).tables[0].rows]


def test_gaps_come_first_and_shown_ones_before_others() -> None:
    shown = ROW | {"value": "senior", "verdict": "gap shown", "reading": "the raw gap hides it", "more_objects": 0}
    first, second = words(ROW, shown)
    assert first[0] == "object age: senior"
    assert first[-2:] == ["gap shown", "the raw gap hides it"]
    assert second[4:6] == ["+0.170 (-0.02 to +0.36)", "-"]
    assert second[-1] == "needs about 210 more objects and 2 more clusters (time block)"


def test_gaps_that_nobody_can_measure_say_what_is_lacking() -> None:
    assert words(ROW | {"raw": None}) == [["object age: child", "90", "210", "2", "time block"]]


def test_groups_without_an_interval_say_why() -> None:
    adult, child, senior = words()
    assert adult[2:5] == ["0.900", "0.800 to 0.950", "0.700 (0.60 to 0.80)"]
    assert child[2:4] == ["0.900", "not assessable: 6 of 10 clusters (time block)"]
    assert senior[2:4] == ["-", "not assessable: 4 of 30 objects"]


def test_a_sheet_without_evidence() -> None:
    line = {
        "condition": "speed",
        "title": "Speed",
        "state": "not assessed",
        "words": "Not assessed: no track.",
        "parts": [],
    }
    values = {"recall_floor": 0.9, "smallest_height_px": None, "conditions": [line]}
    section = preconditions(Figures(values, "preconditions.json", "evaluate"))
    assert dict(section.facts)["Smallest height that holds"] == "none shown"
    assert [cell.text for cell in section.tables[0].rows[0]] == ["Speed", "Not assessed: no track.", "none"]


def drawn(section: Section) -> list[Chart]:
    return [it for it in section.pictures if isinstance(it, Chart)]


def test_each_attribute_of_which_something_is_known_is_drawn() -> None:
    values = {"age": {"adult": SURE, "child": CLIPS, "senior": SHORT}, "weather": {"fog": SHORT}}
    (age,) = drawn(groups(Figures(values, "groups.json", "evaluate"), gaps()))
    assert 'data-tip="adult: 0.9 (0.8 to 0.95), n = 90"' in age.svg
    assert "6 of 10 clusters" in age.svg  # too few clips: the estimate is not drawn
    assert age.alt.endswith("adult 0.900; child 0.900")


def test_of_very_many_groups_the_lowest_are_drawn() -> None:
    cameras = {f"camera {n}": SURE | {"recall": 0.5 + n / 100} for n in range(40)}
    (chart,) = drawn(groups(Figures({"camera": cameras}, "groups.json", "evaluate"), gaps()))
    assert f"the lowest {MOST_ROWS} of 40" in chart.caption
    assert "camera 29:" in chart.svg
    assert "camera 30:" not in chart.svg


def test_heights_are_drawn_against_what_is_asked() -> None:
    parts = [
        {"value": "below 48 px", "objects": 4, "reason": "4 of 30 objects", "recall": None},
        {"value": "48 px and more", "objects": 300, "recall": 0.96, "recall_low": 0.92, "recall_high": 0.98,
         "unit": "clip"},
    ]  # fmt: skip
    line = {"condition": "height", "title": "Box height", "state": "assessed", "words": "From 48 px.", "parts": parts}
    values = {"recall_floor": 0.9, "smallest_height_px": 48.0, "conditions": [line]}
    (chart,) = drawn(preconditions(Figures(values, "preconditions.json", "evaluate")))
    assert 'data-tip="48 px and more: 0.96 (0.92 to 0.98), n = 300"' in chart.svg
    assert "not assessed: 4 of 30 objects" in chart.svg
    assert 'stroke="var(--c2)"' in chart.svg
    assert "the 0.9 that is asked for" in chart.caption


def test_heights_of_which_nothing_is_known_are_not_drawn() -> None:
    parts = [{"value": "below 48 px", "objects": 4, "reason": "4 of 30 objects", "recall": None}]
    line = {"condition": "height", "title": "Box height", "state": "not assessed", "words": "No.", "parts": parts}
    values = {"recall_floor": 0.9, "smallest_height_px": None, "conditions": [line]}
    assert drawn(preconditions(Figures(values, "preconditions.json", "evaluate"))) == []
