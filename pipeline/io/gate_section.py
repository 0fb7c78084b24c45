"""Sections of the report on promotion: the verdict line by line, what it is under, and what each iteration bought."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from pipeline.io import charts
from pipeline.io.documents import Figures
from pipeline.io.page import Cell, Chart, Section, Table, figure, mark, number, text

REFUSE, HOLDS, NOT_ASSESSED, WITHHELD = "refuse", "holds", "not assessed", "withheld"
THIS = "this one"


def headline(gate: Figures, register: Figures) -> tuple[bool, bool, str]:
    """Whether it is promoted, whether under conditions, and the verdict in words."""
    lines = limits(gate, register)
    held, open_lines = (sum(it["result"] == result for it in lines) for result in (HOLDS, NOT_ASSESSED))
    passed = register["verdict"] != REFUSE
    conditional = passed and bool(register["conditions"])
    told = "May not be promoted" if not passed else "May be promoted" + (" with conditions" if conditional else "")
    thin = f", {open_lines} not assessed" if open_lines else ""
    return passed, conditional, f"{told}: {held} of {len(lines)} limits hold{thin}"


def reasons(register: Figures) -> tuple[str, ...]:
    """Why it is refused, or under which conditions it is promoted."""
    return tuple(register["reasons"] if register["verdict"] == REFUSE else register["conditions"])


def conditions(gate: Figures, register: Figures) -> Section:
    """Every limit with its figure, how sure that is, what it rests on, and where it comes from."""
    order = ("fails", WITHHELD, NOT_ASSESSED, HOLDS)
    lines = sorted(limits(gate, register), key=lambda it: order.index(it["result"]))
    header = ("Limit", "Asked", "Measured (95 %)", "Result", "Evidence, and where it is")
    table = Table("Limits of the gate", header, tuple(_cells(it) for it in lines), _origin(gate, register))
    rule = (
        "A limit fails where the figure does not meet it, and holds where its whole interval does; between them, and "
        "where too little was seen, it is not assessed. An artifact that fails is withheld while another of its "
        "target ships."
    )
    strict = f"What is not assessed {'refuses' if gate['strict'] else 'becomes a condition of'} the promotion."
    return Section("conditions", "Verdict, line by line", "May it be promoted?", (), (rule, strict), (table,))


def limits(gate: Figures, register: Figures) -> Sequence[Figures]:
    """Every line of the verdict, that on the champion last."""
    return [*gate["lines"], *([register["comparison"]] if register["comparison"] else [])]


def _origin(gate: Figures, register: Figures) -> str:
    return f"{gate.origin}, {register.origin}" if register["comparison"] else gate.origin


def _cells(it: Figures) -> tuple[Cell, ...]:
    return (
        text(it["limit"]),
        text(asked(it["min"], it["max"])),
        Cell(_measured(it), "number"),
        _result(it),
        text(", in ".join(filter(None, (it["evidence"], it["source"])))),
    )


def asked(low: float | None, high: float | None) -> str:
    """A bound in words."""
    told = [f"{word} {bound:g}" for word, bound in (("at least", low), ("at most", high)) if bound is not None]
    return " and ".join(told) or "equal outputs"


def _measured(it: Figures) -> str:
    if it["figure"] is None:
        return "-"
    sure = "" if it["low"] is None else f" ({it['low']:.3f} to {it['high']:.3f})"
    return f"{figure(it['figure'])}{sure}"


def _result(it: Figures) -> Cell:
    if it["result"] == NOT_ASSESSED:
        return Cell(f"{NOT_ASSESSED}: {it['reason']}", "quiet")
    reason = f"{WITHHELD}: {it['reason']}" if it["result"] == WITHHELD else it["reason"]
    return mark(reason or it["result"], good=it["result"] == HOLDS)


def with_conditions(preconditions: Section, gate: Figures, register: Figures) -> Section:
    """The preconditions with the limits that nobody could assess: nothing is promised of them either."""
    lines = [it for it in limits(gate, register) if it["result"] == NOT_ASSESSED]
    if not lines:
        return preconditions
    rows = tuple((text(it["limit"]), text(asked(it["min"], it["max"])), text(it["reason"])) for it in lines)
    caption = "Limits of the gate that the evidence is too thin to assess"
    table = Table(caption, ("Limit", "Asked", "Why"), rows, _origin(gate, register))
    return replace(preconditions, tables=(*preconditions.tables, table))


def ledger(figures: Figures) -> Section:
    """A row an iteration: what came in, what came out, what it cost, and what it bought."""
    rows = figures["iterations"]
    cells = tuple(_row(it, before, last=it is rows[-1]) for before, it in pairwise([None, *rows]))
    header = (
        *("Version", "Date", "+ Frames", "+ Labels", "AP", "+ AP", "AP50"),
        *("Worst group", "rPC", "Verdict", "Minutes"),
    )
    bought_note = (
        "+ is against the iteration before; for AP where both were measured on the same benchmark. The worst group is "
        "the assessable one with the lowest recall, classes and heights left out; minutes are of training."
    )
    clock = (
        "An iteration's own page holds no clock: its date and minutes are in MLflow and in the next page. All at the "
        "terminal: sightline ledger"
    )
    table = Table("Iterations", header, cells, figures.origin)
    question = "What did each round cost, and what did it buy?"
    return Section(
        "iterations", "Iterations", question, (), (bought_note, clock), (table,), _rounds(rows, figures.origin)
    )


def _rounds(rows: Sequence[Figures], origin: str) -> tuple[Chart, ...]:
    """AP by iteration, a line a benchmark; none where no benchmark measured two."""
    of: dict[str, list[tuple[float, float]]] = {}
    for it in rows:
        if it["AP"] is not None:
            of.setdefault(it["benchmark"][:6], []).append((it["version"], it["AP"]))
    series = {f"benchmark {name}": points for name, points in of.items()}
    if not any(len(points) > 1 for points in series.values()):
        return ()
    told = "; ".join(f"{name}: " + ", ".join(f"{ap:.3f}" for _, ap in points) for name, points in series.items())
    drawn = charts.lines(series, "version", "AP", whole=True)
    return (Chart("AP by iteration, a line a benchmark", f"AP by iteration. {told}", origin, drawn, tuple(series)),)


def _row(it: Figures, before: Figures | None, *, last: bool) -> tuple[Cell, ...]:
    worst = "-" if it["worst_recall"] is None else f"{it['worst_group']}: recall {it['worst_recall']:.3f}"
    return (
        text(it["version"]),
        text(it["date"] or (THIS if last else "-")),
        *(number(it[f"{name}_added"]) for name in ("frames", "labels")),
        number(it["AP"]),
        Cell(_bought(before, it), "number"),
        number(it["AP50"]),
        text(worst),
        number(it["robustness"]),
        text(it["verdict"]),
        Cell(THIS if last else "-" if it["minutes"] is None else figure(it["minutes"], 1), "number"),
    )


def _bought(before: Figures | None, it: Figures) -> str:
    if before is None or before["AP"] is None or it["AP"] is None:
        return "-"
    return f"{it['AP'] - before['AP']:+.3f}" if before["benchmark"] == it["benchmark"] else "another benchmark"
