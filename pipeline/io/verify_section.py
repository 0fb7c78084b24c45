"""The report's section on what ships: how each artifact was verified, from the figures that the stage left."""

from pipeline.io import charts
from pipeline.io.documents import Figures
from pipeline.io.page import Cell, Chart, Section, Table, figure, mark, number, text

GROUPS_SHOWN = 12


def verification(verified: Figures) -> Section:
    """Verdict and figures of each artifact, and the groups that pay for it."""
    artifacts = verified["artifacts"]
    good = sum(it["verified"] for it in artifacts.values())
    facts = (
        ("Artifacts verified", f"{good} of {len(artifacts)}"),
        ("Frames", figure(verified["frames"])),
        ("Objects in them", figure(verified["objects"])),
        ("AP of the trained model", _figure(verified["reference"].get("AP"))),
    )
    notes = (
        "Each artifact ran through the runtime that ships with it. What was not measured is not verified.",
        "Points lost are against the trained model on the same frames, at 95 % by the paired cluster bootstrap.",
        "Times depend on the machine and the hour: they are in reports/verify/latency.json.",
    )
    question = "Is what ships still as good, for every group?"
    tables = (_verdicts(artifacts, verified.origin), *_groups(artifacts, verified))
    drawn = (_losses(artifacts, verified.origin),) if artifacts else ()
    return Section("verify", "What ships, verified", question, facts, notes, tables, drawn, verified.origin)


def _losses(artifacts: Figures, origin: str) -> Chart:
    """AP points that each artifact loses, with their intervals."""
    rows = [_loss(name, it) for name, it in artifacts.items()]
    told = "; ".join(f"{row.label} {row.value:+.2f}" for row in rows if row.value is not None) or "none was measured"
    return Chart(
        "AP points lost against the trained model, with their 95 % interval",
        f"AP points lost by each artifact: {told}",
        origin,
        charts.dots(rows, "AP points lost", shares=False),
    )


def _loss(name: str, it: Figures) -> charts.Row:
    if it.get("drop_AP") is None:
        return charts.Row(name, note="refused, not measured" if it["reasons"] else it["not_assessed"])
    low, high = (None if it.get(key) is None else 100 * it[key] for key in ("drop_AP_low", "drop_AP_high"))
    return charts.Row(name, 100 * it["drop_AP"], low, high, it["precision"])


def _verdicts(artifacts: Figures, origin: str) -> Table:
    rows = tuple(
        (
            text(name),
            text(f"{it['engine']}, {it['precision']}"),
            number(it.get("AP")),
            number(it.get("AP50")),
            text(_points(it, "drop_AP")),
            _share(it.get("kept_AP")),
            number(it.get("heads", {}).get("boxes")),
            number(it.get("heads", {}).get("scores")),
            _verdict(it),
        )
        for name, it in artifacts.items()
    )
    header = (
        "Artifact",
        "Runs on",
        "AP",
        "AP50",
        "AP points lost",
        "AP kept",
        "Boxes differ, px",
        "Scores differ",
        "Verdict",
    )
    return Table("Artifacts on the benchmark", header, rows, origin)


def _verdict(it: Figures) -> Cell:
    if it["reasons"]:
        return mark(f"refused: {'; '.join(it['reasons'])}", good=False)
    return mark("verified", good=True) if it["verified"] else Cell(f"not assessed: {it['not_assessed']}", "quiet")


def _groups(artifacts: Figures, verified: Figures) -> tuple[Table, ...]:
    """The groups that lose most, of all artifacts; none where nobody loses anything."""
    least, limit = verified["limits"]["min_support"], verified["limits"]["max_recall_drop"]
    lost = [
        (it["drop"], name, f"{attribute}: {value}", it)
        for name, artifact in artifacts.items()
        for attribute, values in artifact.get("groups", {}).items()
        for value, it in values.items()
        if it["drop"] > 0
    ]
    if not lost:
        return ()
    ranked = sorted(lost, key=lambda row: (row[3]["objects"] < least, -row[0], row[1], row[2]))[:GROUPS_SHOWN]
    rows = tuple(
        (
            text(group),
            text(name),
            number(it["objects"]),
            number(it["reference"]),
            number(it["recall"]),
            text(_lost(it)),
            _judged(it, least, limit),
        )
        for _, name, group, it in ranked
    )
    header = ("Group", "Artifact", "Objects", "Recall, trained", "Recall, shipped", "Points lost", "Result")
    return (Table("Groups that lose most recall", header, rows, verified.origin),)


def _judged(it: Figures, least: int, limit: float) -> Cell:
    if it["objects"] < least:
        return Cell(f"does not decide: {it['objects']} of {least} objects", "quiet")
    good = it["drop"] <= limit + 1e-9
    return mark("holds" if good else f"above {100 * limit:g} points", good=good)


def _lost(it: Figures) -> str:
    return _with_interval(it["drop"], it.get("low"), it.get("high"))


def _points(it: Figures, key: str) -> str:
    value = it.get(key)
    return "-" if value is None else _with_interval(value, it.get(f"{key}_low"), it.get(f"{key}_high"))


def _with_interval(value: float, low: float | None, high: float | None) -> str:
    sure = "" if low is None or high is None else f" ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{100 * value:.2f}{sure}"


def _share(value: float | None) -> Cell:
    return Cell("-" if value is None else f"{value:.1%}", "number")


def _figure(value: float | None) -> str:
    return "not measured" if value is None else figure(value)
