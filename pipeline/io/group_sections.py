"""Sections of the report on groups: for whom it is good, whom it serves worse, and under which conditions it holds."""

import math
import re
from collections.abc import Sequence

from pipeline.io import charts
from pipeline.io.documents import Figures
from pipeline.io.page import Cell, Chart, Section, Table, interval, mark, number, text

NOT_ASSESSABLE, SHOWN = "not assessable", "gap shown"
HEIGHT = "height"  # the condition that is drawn
MOST_ROWS = 30  # of a chart
ORDER = (SHOWN, "no gap larger than the limit", NOT_ASSESSABLE)
INTERVALS = (
    "Intervals are at 95 %, by the cluster bootstrap: what lies in one clip, or time block, is drawn as a whole. "
    "From time blocks they hold for these cameras at other times, for no other camera."
)


def groups(figures: Figures, comparisons: Figures) -> Section:
    """Whom it serves worse, then one table an attribute, with the groups that cannot be assessed."""
    tables = [_group_table(name, values, figures.origin) for name, values in figures.items()]
    cells = [it for values in figures.values() for it in values.values()]
    short = sum(it["verdict"] == NOT_ASSESSABLE for it in cells)
    told = f"{len(cells)} groups, {short} of them not assessable: too few objects or clips to say how good it is."
    counted = "; ".join(f"{verdict}: {count}" for verdict, count in comparisons["counts"].items())
    notes = [told, INTERVALS, f"Gaps in recall to the best group of an attribute. {counted}."]
    if comparisons["without"]:
        notes.append(f"Not held equal, because nothing says it: {', '.join(comparisons['without'])}.")
    measured = [it for it in comparisons["comparisons"] if it["raw"] is not None]
    lacking = [it for it in comparisons["comparisons"] if it["raw"] is None]
    gaps = [_gap_table(measured, comparisons)] if measured else []
    tables = [*gaps, *([_lacking_table(lacking, comparisons.origin)] if lacking else []), *tables]
    question = "For whom, where and when is it good?"
    drawn = tuple(_chart(name, values, figures.origin) for name, values in figures.items() if _measured(values))
    return Section("groups", "Groups", question, (), tuple(notes), tuple(tables), drawn)


def _chart(attribute: str, values: Figures, origin: str) -> Chart:
    """Recall of each value with its interval; of very many, the lowest."""
    ranked = sorted(values.items(), key=lambda entry: entry[1].get("recall", math.inf))
    kept = sorted(ranked[:MOST_ROWS], key=lambda entry: _natural(entry[0]))
    cut = f", the lowest {MOST_ROWS} of {len(values)}" if len(values) > MOST_ROWS else ""
    told = "; ".join(f"{value} {it['recall']:.3f}" for value, it in kept if "recall" in it)
    title = f"Recall by {attribute}{cut}, with its 95 % interval"
    return Chart(title, f"{title}: {told}", origin, charts.dots([_row(*entry) for entry in kept], "Recall"))


def _row(value: str, it: Figures) -> charts.Row:
    if it["verdict"] == NOT_ASSESSABLE or "recall" not in it:
        return charts.Row(value, note=it.get("reason", NOT_ASSESSABLE))
    return charts.Row(value, it["recall"], it.get("recall_low"), it.get("recall_high"), f"n = {it['objects']}")


def _measured(values: Figures) -> bool:
    return any(it["verdict"] != NOT_ASSESSABLE and "recall" in it for it in values.values())


def _lacking_table(lacking: Sequence[Figures], origin: str) -> Table:
    """Groups that are too few to be compared, and what they need."""
    rows = tuple(
        (
            text(f"{it['attribute']}: {it['value']}"),
            number(it["objects"]),
            number(it["more_objects"]),
            number(it["more_clusters"]),
            text(it["unit"]),
        )
        for it in lacking
    )
    header = ("Group", "Objects", "More objects needed", "More clusters needed", "A cluster is")
    return Table("Gaps that are not assessable: too little was seen", header, rows, origin)


def _gap_table(measured: Sequence[Figures], comparisons: Figures) -> Table:
    rows = sorted(measured, key=lambda it: ORDER.index(it["verdict"]))
    caption = f"Gaps in recall to the best group; the limit is {comparisons['max_gap']:g}"
    header = ("Group", "Best", "Objects", "Ratio", "Raw gap", "At equal conditions", "p (Holm)", "Verdict", "Remark")
    return Table(caption, header, tuple(_gap_cells(it) for it in rows), comparisons.origin)


def _gap_cells(it: Figures) -> tuple[Cell, ...]:
    return (
        text(f"{it['attribute']}: {it['value']}"),
        text(it["reference"] or "-"),
        number(it["objects"]),
        number(it["ratio"]),
        text(_gap(it["raw"])),
        text(_gap(it["stratified"])),
        number(it["p_holm"]),
        _verdict(it["verdict"]),
        text(_remark(it)),
    )


def _gap(it: Figures | None) -> str:
    return "-" if it is None else f"{it['gap']:+.3f} ({it['low']:+.2f} to {it['high']:+.2f})"


def _verdict(verdict: str) -> Cell:
    return Cell(verdict, "quiet") if verdict == NOT_ASSESSABLE else mark(verdict, good=verdict != SHOWN)


def _remark(it: Figures) -> str:
    """What the strata change, or what a verdict lacks."""
    objects, clusters = it["more_objects"], it["more_clusters"]
    lacks = [f"{objects} more objects"] if objects else []
    lacks += [f"{clusters} more clusters ({it['unit']})"] if clusters else []
    return it["reading"] or (f"needs about {' and '.join(lacks)}" if lacks else "")


def _group_table(attribute: str, values: Figures, origin: str) -> Table:
    header = ("Value", "Objects", "Recall", "95 % interval", "Precision", "AP50", "Mean IoU", "False alarms")
    ordered = sorted(values.items(), key=lambda entry: _natural(entry[0]))
    rows = tuple((text(value), number(it["objects"]), *_group_cells(it)) for value, it in ordered)
    return Table(f"By {attribute}", header, rows, origin)


def _natural(name: str) -> list[str | int]:
    """A key that puts `48-96 px` before `192-384 px`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _group_cells(it: Figures) -> tuple[Cell, ...]:
    sure = Cell(f"{NOT_ASSESSABLE}: {it['reason']}", "quiet") if it["verdict"] == NOT_ASSESSABLE else _sure(it)
    figures = (_with_interval(it, key) for key in ("precision", "AP50", "mean_iou"))
    return (number(it.get("recall")), sure, *figures, number(it.get("false_alarms")))


def _sure(it: Figures) -> Cell:
    if "recall_low" not in it:
        return Cell(NOT_ASSESSABLE, "quiet")
    return interval(it["recall_low"], it["recall"], it["recall_high"])


def _with_interval(it: Figures, key: str) -> Cell:
    if f"{key}_low" not in it:
        return number(it.get(key))
    return Cell(f"{it[key]:.3f} ({it[f'{key}_low']:.2f} to {it[f'{key}_high']:.2f})", "number")


def preconditions(sheet: Figures) -> Section:
    """The measured operating envelope, line by line."""
    lines = sheet["conditions"]
    assessed = sum(it["state"] == "assessed" for it in lines)
    height = sheet["smallest_height_px"]
    facts = (
        ("Recall asked for", f"{sheet['recall_floor']:g}"),
        ("Conditions assessed", f"{assessed} of {len(lines)}"),
        ("Smallest height that holds", "none shown" if height is None else f"{height:g} px"),
    )
    notes = (
        "A condition holds where the lower bound of recall, at 95 %, reaches what is asked for.",
        "What is not assessed was not seen often enough: nothing is promised there.",
    )
    rows = tuple((text(it["title"]), text(it["words"]), text(_evidence(it))) for it in lines)
    table = Table("Preconditions", ("Condition", "What was measured", "Evidence"), rows, sheet.origin)
    question = "Under which conditions does it hold?"
    drawn = tuple(_heights(it, sheet) for it in lines if it["condition"] == HEIGHT and _seen(it))
    return Section("preconditions", "Preconditions", question, facts, notes, (table,), drawn, source=sheet.origin)


def _seen(condition: Figures) -> bool:
    return any(part["recall"] is not None for part in condition["parts"])


def _heights(heights: Figures, sheet: Figures) -> Chart:
    """Recall by box height, against the floor asked for."""
    rows = [
        charts.Row(part["value"], note=f"not assessed: {part['reason']}")
        if part["recall"] is None
        else charts.Row(
            part["value"], part["recall"], part["recall_low"], part["recall_high"], f"n = {part['objects']}"
        )
        for part in heights["parts"]
    ]
    floor = sheet["recall_floor"]
    return Chart(
        f"Recall by box height with its 95 % interval; broken line: the {floor:g} that is asked for",
        f"Recall by box height. {heights['words']}",
        sheet.origin,
        charts.dots(rows, "Recall", asked=floor),
    )


def _evidence(it: Figures) -> str:
    parts = [part for part in it["parts"] if part["recall"] is not None]
    if not parts:
        return "none"
    units = ", ".join(sorted({part["unit"] for part in parts}))
    return f"{sum(part['objects'] for part in parts)} objects, by {units}"
