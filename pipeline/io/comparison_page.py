"""The page that shows detectors side by side: a table and charts for each set of frames."""

from collections.abc import Sequence

from pipeline.core.contenders import Column, Contender, Field, best, columns, latency, shown
from pipeline.io.charts import scatter
from pipeline.io.page import Cell, Chart, Page, Section, Table, number, text

COMMAND = "sightline compare"


def page(fields: Sequence[Field], source: str) -> Page:
    """The page.

    Args:
        fields: contenders by what they were measured on.
        source: where the figures come from, as the reader is told.
    """
    count = sum(len(field.rows) for field in fields)
    return Page(
        title="Detectors side by side",
        subtitle=f"{count} registered iterations on {len(fields)} benchmark{'s' if len(fields) != 1 else ''}",
        passed=False,
        verdict="",
        reasons=(),
        sections=tuple(_section(i, field, source) for i, field in enumerate(fields, start=1)),
        command=COMMAND,
    )


def _section(i: int, field: Field, source: str) -> Section:
    rows = field.rows
    notes = (
        f"All of these were measured on the same frames and labels: benchmark {field.benchmark[:12]}.",
        "Between sections, which are of different benchmarks, APs say nothing about each other.",
        "★ is the best of its column. AP by size is COCO's: small below 32 x 32, large above 96 x 96 source pixels.",
        "Worst recall is that of the assessable group which has the lowest; MACs are multiply-adds of one picture.",
        "Milliseconds are a frame's median, from file to detections, by the artifact that a target runs by default.",
        "Times depend on the machine and the hour: compare those that one machine has measured.",
    )
    pictures = [_chart(rows, source, column) for column in _costs(rows)]
    question = "Which detector gives what, and for what price?"
    name = f"{field.data or 'data'}, benchmark {field.benchmark[:6]}"
    return Section(f"field-{i}", name, question, (), notes, (_table(rows, source),), tuple(pictures))


def _table(rows: Sequence[Contender], source: str) -> Table:
    kept = columns(rows)
    tops = {column.key: best(rows, column) for column in kept}
    cells = tuple(
        (
            text(f"{row.model}, version {row.version}"),
            *(_cell(row, column, tops[column.key]) for column in kept),
            text(row.worst_group or "-"),
        )
        for row in rows
    )
    return Table("Best AP first", ("Detector", *(it.title for it in kept), "Worst group"), cells, source)


def _cell(row: Contender, column: Column, top: float | None) -> Cell:
    won = top is not None and row.figures.get(column.key) == top
    return Cell(shown(row, column), "best") if won else Cell(shown(row, column), number(None).kind)


def _costs(rows: Sequence[Contender]) -> list[Column]:
    """What AP is drawn against: of each, two contenders at least must have it."""
    wanted = [it for it in columns(rows) if it.key in {"macs", "minutes"} or it.key.startswith(latency(""))]
    return [it for it in wanted if len(_points(rows, it)) > 1]


def _points(rows: Sequence[Contender], cost: Column) -> list[tuple[str, float, float]]:
    return [
        (f"{row.model} {row.version}", row.figures[cost.key] * cost.scale, row.figures["AP"])
        for row in rows
        if {cost.key, "AP"} <= row.figures.keys()
    ]


def _chart(rows: Sequence[Contender], source: str, cost: Column) -> Chart:
    points = _points(rows, cost)
    told = "; ".join(f"{label}: AP {ap:.3f} at {price:.3g}" for label, price, ap in points)
    chart = scatter(points, cost.title, "AP")
    return Chart(f"AP against {cost.title}: up and left is better", told, source, chart)
