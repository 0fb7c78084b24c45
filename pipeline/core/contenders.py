"""Detectors side by side: what is compared, which figure is the best, and the table at the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Contender:
    """One iteration; a figure that is not known is left out."""

    run_id: str
    model: str
    version: int
    data: str  # name of the data set
    benchmark: str  # hash: APs on different ones cannot be compared
    figures: Mapping[str, float]  # by key of `COLUMNS`, and by `latency(target)` and `size(target)`
    worst_group: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of all contenders."""

    key: str
    title: str
    better: Literal["high", "low"]
    scale: float = 1.0  # the shown value is the figure times this
    digits: int = 3


@dataclass(frozen=True, slots=True)
class Field:
    """Contenders that were measured on the same frames, best AP first."""

    data: str
    benchmark: str
    rows: tuple[Contender, ...] = field(default_factory=tuple)


COLUMNS = (
    Column("AP", "AP", "high"),
    Column("AP50", "AP50", "high"),
    Column("AP_small", "AP small", "high"),
    Column("AP_medium", "AP medium", "high"),
    Column("AP_large", "AP large", "high"),
    Column("worst_recall", "Worst recall", "high"),
    Column("minutes", "Train, min", "low", digits=1),
    Column("parameters", "Params, M", "low", 1e-6, 2),
    Column("macs", "MACs, G", "low", 1e-9, 2),
    Column("bytes", "Weights, MB", "low", 1e-6, 1),
)


def latency(target: str) -> str:
    """Key of the milliseconds of a frame on a target: its default artifact, median, from file to detections."""
    return f"milliseconds/{target}"


def size(target: str) -> str:
    """Key of the bytes of a target's default artifact."""
    return f"bytes/{target}"


def columns(rows: Sequence[Contender]) -> list[Column]:
    """The figures that any of the contenders has; those of targets come last."""
    targets = sorted({key.partition("/")[2] for row in rows for key in row.figures if key.startswith("milliseconds/")})
    shipped = sorted({key.partition("/")[2] for row in rows for key in row.figures if key.startswith("bytes/")})
    every = [
        *COLUMNS,
        *(Column(latency(it), f"{it}, ms", "low", digits=1) for it in targets),
        *(Column(size(it), f"{it}, MB", "low", 1e-6, 1) for it in shipped),
    ]
    return [column for column in every if any(column.key in row.figures for row in rows)]


def fields(rows: Sequence[Contender]) -> list[Field]:
    """Contenders by data and benchmark, the largest field first; of the same data, the newest benchmark first."""
    found: dict[tuple[str, str], list[Contender]] = {}
    for row in rows:
        found.setdefault((row.data, row.benchmark), []).append(row)
    made = [
        Field(data, benchmark, tuple(sorted(members, key=lambda it: (-it.figures.get("AP", -1.0), -it.version))))
        for (data, benchmark), members in found.items()
    ]
    return sorted(made, key=lambda it: (-len(it.rows), -max(row.version for row in it.rows)))


def best(rows: Sequence[Contender], column: Column) -> float | None:
    """The best value of a column; None where there is nothing to choose from."""
    values = [row.figures[column.key] for row in rows if column.key in row.figures]
    if len(values) < 2 or len(set(values)) == 1:
        return None
    return max(values) if column.better == "high" else min(values)


def shown(row: Contender, column: Column) -> str:
    """A figure as text, a dash where it is not known."""
    value = row.figures.get(column.key)
    return "-" if value is None else f"{value * column.scale:.{column.digits}f}"


def table(rows: Sequence[Contender]) -> str:
    """The contenders as lines of text; the best of each column carries a star."""
    kept = columns(rows)
    tops = [best(rows, column) for column in kept]
    cells = [["model", "version", *(column.title for column in kept), "worst group"]]
    for row in rows:
        figures = [
            shown(row, column) + ("*" if top is not None and row.figures.get(column.key) == top else "")
            for column, top in zip(kept, tops, strict=True)
        ]
        cells.append([row.model, str(row.version), *figures, row.worst_group or "-"])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells)
