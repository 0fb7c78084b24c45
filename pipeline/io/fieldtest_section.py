"""Section of the report on the field test: what an operator would have seen, with clips that play."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.core.field_figures import GROUPS
from pipeline.io import charts
from pipeline.io.charts import Row
from pipeline.io.documents import Figures, Folder
from pipeline.io.page import (
    Cell,
    Chart,
    Headline,
    Media,
    Picture,
    Section,
    Table,
    Video,
    embedded,
    figure,
    mark,
    number,
    text,
)

QUESTION = "What would the operator have seen?"
STAGE, FILE = "fieldtest", "fieldtest.json"
NOTHING = "not assessable: no held-out footage"
NONE_SEEN = 3.69  # Garwood's upper end for no event, at 95 %
TRACKING = (("hota", "HOTA"), ("deta", "DetA"), ("assa", "AssA"), ("idf1", "IDF1"), ("mota", "MOTA"))


def field_test(found: Figures, reports: Folder) -> Section:
    """Events, alarms, delays, tracking and the camera's health, and clips of what went wrong."""
    if not found["hours"]:
        return Section(STAGE, "Field test", QUESTION, notes=(f"{NOTHING}. {_left_out(found)}",), source=found.origin)
    tables = [_groups(found), *_tracking(found), *_health(found), *_drift(found), _watched(found), *_cases(found)]
    pictures: list[Media] = [*_recall(found), *_curve(found), *_doubts(found, reports), *_clips(found, reports)]
    how = (
        "The artifact that ships looked at footage that no training has seen, as a camera would run it: motion decides "
        "when the detector looks, tracks become events, and an alarm is raised once an object has stayed."
    )
    sure = (
        f"Intervals are exact, at 95 %. Without a single false alarm, {_time(found['hours'])} only show that there are "
        f"fewer than {NONE_SEEN / found['hours']:.3g} an hour."
    )
    notes = (how, sure, _left_out(found)) if found["left_out"] else (how, sure)
    return Section(STAGE, "Field test", QUESTION, _facts(found), notes, tuple(tables), tuple(pictures), found.origin)


def field_headline(found: Figures) -> Headline:
    """Events found, for those who read one line."""
    if not found["events"]:
        return Headline("Events found", "not assessed", "no held-out events", STAGE, found.origin)
    note = f"{found['false_alarms']} false alarms in {_time(found['hours'])}"
    return Headline("Events found", f"{found['found']} of {found['events']}", note, STAGE, found.origin)


def _facts(it: Figures) -> tuple[tuple[str, str], ...]:
    delay = it["time_to_detect_s"]
    return (
        ("Watched", _time(it["hours"])),
        ("Artifact", f"{it['target']}/{it['artifact']}"),
        ("Events found", f"{it['found']} of {it['events']} ({_sure(it, 'event_recall')})"),
        ("False alarms", f"{it['false_alarms']}"),
        ("False alarms an hour", f"{figure(it['false_alarms_per_hour'], 1)} ({_sure(it, 'false_alarms_per_hour', 1)})"),
        ("Time to detect", "-" if delay is None else f"{delay['median']:.1f} s (90 %: {delay['p90']:.1f} s)"),
    )


def _time(hours: float) -> str:
    return f"{hours:.2f} hours" if hours >= 1 else f"{hours * 60:.1f} minutes"


def _sure(it: Mapping[str, Any], key: str, digits: int = 2) -> str:
    low, high = it[f"{key}_low"], it[f"{key}_high"]
    return "not assessable" if low is None else f"{low:.{digits}f} to {high:.{digits}f}"


def _left_out(it: Figures) -> str:
    reasons = "; ".join(f"{name}: {why}" for name, why in it["left_out"].items())
    return (
        f"Left out: {reasons}." if reasons else "There are no clips; data/fieldtest/README.md says what to put there."
    )


def _groups(it: Figures) -> Table:
    parts = [("all", it), *((f"{of} {name}", part) for of in GROUPS for name, part in it.get(of, {}).items())]
    header = (
        *("Part", "Watched", "Events", "Found", "Recall (95 %)", "False alarms", "An hour (95 %)"),
        *("Duplicates", "Seconds to detect"),
    )
    return Table("Events by part", header, tuple(_part(name, part) for name, part in parts), it.origin)


def _part(name: str, it: Mapping[str, Any]) -> tuple[Cell, ...]:
    delay = it["time_to_detect_s"]
    recall = "-" if it["event_recall"] is None else f"{it['event_recall']:.2f} ({_sure(it, 'event_recall')})"
    rate = it["false_alarms_per_hour"]
    return (
        text(name),
        text("-" if it["hours"] is None else _time(it["hours"])),
        *(number(it[key]) for key in ("events", "found")),
        Cell(recall, "number"),
        number(it["false_alarms"]),
        Cell("-" if rate is None else f"{rate:.1f} ({_sure(it, 'false_alarms_per_hour', 1)})", "number"),
        number(it["duplicates"]),
        Cell("-" if delay is None else f"{delay['median']:.1f}", "number"),
    )


def _tracking(it: Figures) -> Iterator[Table]:
    scores = it["tracking"]
    if scores is None:
        return
    header = ("Camera", *(title for _, title in TRACKING), "Switches", "Fragmentations", "True tracks")
    rows = tuple(
        (
            text(name),
            *(number(part[key]) for key, _ in TRACKING),
            *(number(part[key]) for key in ("switches", "fragmentations", "tracks")),
        )
        for name, part in (("all", scores), *scores["camera"].items())
    )
    yield Table("Tracking, with the detector at every frame", header, rows, it.origin)


def _health(it: Figures) -> Iterator[Table]:
    rows = tuple(row for camera in it["health"] for row in _camera(camera))
    header = ("Camera", "Footage", "Finding", "From, s", "To, s", "Severity", "What was seen")
    yield Table("Condition of the cameras", header, rows, it.origin)


def _camera(it: Mapping[str, Any]) -> list[tuple[Cell, ...]]:
    who = text(it["camera"]), text(it["footage"])
    nothing = Cell("-", "number")
    if not it["judged"]:
        told = Cell("not assessable: too short", "quiet")
        return [(*who, told, nothing, nothing, nothing, text("-"))]
    if not it["findings"]:
        return [(*who, mark("nothing", good=True), nothing, nothing, nothing, text("-"))]
    return [
        (
            *who,
            mark(f["kind"], good=False),
            number(f["start_s"], 1),
            number(f["end_s"], 1),
            number(f["severity"], 2),
            text(f["detail"]),
        )
        for f in it["findings"]
    ]


def _drift(it: Figures) -> Iterator[Table]:
    """Whether the detector says something else than before, camera by camera."""
    rows = tuple(
        (
            text(camera["camera"]),
            text(camera["footage"]),
            Cell(camera["result"], "quiet")
            if camera["result"] == "not assessable"
            else mark(camera["result"], good=camera["result"] == "no drift"),
            text(camera["reason"]),
        )
        for camera in it["drift"]
    )
    yield Table(
        "Drift of the detector, while the camera is sound", ("Camera", "Footage", "Result", "Why"), rows, it.origin
    )


def _doubts(it: Figures, reports: Folder) -> Iterator[Picture]:
    for camera in it["health"]:
        for found in camera["findings"]:
            who = f"{camera['camera']}, {found['kind']} from {found['start_s']:.1f} s of {camera['footage']}"
            yield Picture(
                caption=f"Before and then: {who}",
                alt=f"The camera as it was, and as it is, what has changed framed: {who}",
                source=it.origin,
                uri=embedded(reports.path_of(f"{STAGE}/{found['picture']}", STAGE)),
                wide=True,
            )


def _watched(it: Figures) -> Table:
    rows = tuple(
        (
            text(part["camera"]),
            text(part["footage"]),
            number(part["start_s"], 1),
            number(part["end_s"], 1),
            number(part["frames"]),
            number(part["frames_detected"]),
        )
        for part in it["watched"]
    )
    header = ("Camera", "Footage", "From, s", "To, s", "Frames", "Looked at by the detector")
    return Table("Footage", header, rows, it.origin)


def _cases(it: Figures) -> Iterator[Table]:
    rows = tuple(
        (
            text(case["kind"]),
            text(case["camera"]),
            text(case["label"] or "motion"),
            number(case["start_s"], 1),
            number(case["end_s"], 1),
            number(case["score"], 2),
            text(case["clip"]),
        )
        for case in it["cases"]
    )
    if rows:
        header = ("What", "Camera", "Class", "From, s", "To, s", "Score", "Clip")
        yield Table("What was missed, false, and found", header, rows, it.origin)


def _recall(it: Figures) -> Iterator[Chart]:
    parts = [(f"{of} {name}", part) for of in ("camera", "class") for name, part in it.get(of, {}).items()]
    rows = [
        Row(name, part["event_recall"], part["event_recall_low"], part["event_recall_high"], f"{part['events']} events")
        for name, part in parts
        if part["events"]
    ]
    if rows:
        told = "; ".join(f"{row.label} {row.value:.2f} ({row.low:.2f} to {row.high:.2f})" for row in rows)
        yield Chart("Event recall, with 95 % intervals", told, it.origin, charts.dots(rows, "event recall"))


def _curve(it: Figures) -> Iterator[Chart]:
    points = [row for row in it["curve"] if row["missed_share"] is not None]
    if not points:
        return
    ends = f"from {_spot(points[0])} to {_spot(points[-1])}"
    header = ("Threshold", "Missed share", "95 %", "False alarms an hour", "95 %")
    rows = tuple(
        (
            number(row["threshold"], 2),
            number(row["missed_share"], 2),
            Cell(_sure(row, "missed_share"), "number"),
            number(row["false_alarms_per_hour"], 1),
            Cell(_sure(row, "false_alarms_per_hour", 1), "number"),
        )
        for row in points
    )
    series = {"missed share": [(row["threshold"], row["missed_share"]) for row in points]}
    rate = {"false alarms an hour": [(row["threshold"], row["false_alarms_per_hour"]) for row in points]}
    values = Table("The operating threshold, every figure", header, rows, it.origin)
    yield Chart(
        "Missed share by operating threshold",
        f"Missed share by threshold, {ends}",
        it.origin,
        charts.lines(series, "operating threshold", "missed share", shares=True),
        (),
        values,
    )
    yield Chart(
        "False alarms an hour by operating threshold",
        f"False alarms by threshold, {ends}",
        it.origin,
        charts.lines(rate, "operating threshold", "false alarms an hour"),
    )


def _spot(row: Mapping[str, Any]) -> str:
    return (
        f"{row['missed_share']:.2f} missed and {row['false_alarms_per_hour']:.1f} false alarms an hour at "
        f"{row['threshold']:g}"
    )


def _clips(it: Figures, reports: Folder) -> Iterator[Video]:
    for case in it["cases"]:
        who = f"{case['kind']}: {case['label'] or 'motion'}, {case['camera']}"
        when = f"{case['start_s']:.1f} to {case['end_s']:.1f} s of {case['footage']}"
        score = "" if case["score"] is None else f", score {case['score']:.2f}"
        still = reports.path_of(f"{STAGE}/{case['still']}", STAGE)
        yield Video(
            caption=f"{who.capitalize()} ({when}{score})",
            alt=f"Clip of a {who}: what the tracker followed is framed in orange, what is true in green",
            source=it.origin,
            src=f"{STAGE}/{case['clip']}",
            poster=embedded(still),
        )
