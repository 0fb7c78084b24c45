"""The report's beginning: the figures that everyone should know, what the detector is for, and what is asked of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.io.documents import Figures
from pipeline.io.gate_section import asked, limits
from pipeline.io.page import Headline, Section, Table, figure, text

MEASURED = {  # of metrics.json -> title, section
    "AP50": ("AP50", "benchmark"),
    "recall": ("Recall at the operating point", "benchmark"),
    "false_alarms_per_frame": ("False alarms per frame", "benchmark"),
}
EVERYWHERE = "the whole benchmark"


def headlines(metrics: Figures, ledger: Figures, robustness: Figures, verified: Figures) -> tuple[Headline, ...]:
    """A handful of figures, each with what it rests on; those that were not measured are left out."""
    rests = f"{figure(metrics['objects'])} objects in {figure(metrics['frames'])} benchmark frames"
    told = [
        Headline(title, figure(metrics[key]), rests, section, metrics.origin)
        for key, (title, section) in MEASURED.items()
        if key in metrics
    ]
    told += [
        Headline("Lowest recall of a group", figure(now["worst_recall"]), now["worst_group"], "groups", ledger.origin)
        for now in ledger["iterations"][-1:]
        if now["worst_recall"] is not None
    ]
    left = robustness["rPC"].get("all", {}).get("AP")
    if left is not None:
        note = "of its AP, mean over all corruptions and severities"
        told.append(Headline("Left in bad conditions", f"{left:.0%}", note, "robustness", robustness.origin))
    artifacts = verified["artifacts"]
    good = sum(it["verified"] for it in artifacts.values())
    ships = Headline(
        "Artifacts verified", f"{good} of {len(artifacts)}", "on the files that ship", "verify", verified.origin
    )
    return (*told, ships)


def purpose(gate: Figures, register: Figures, card: Figures, ingest: Figures, preconditions: Figures) -> Section:
    """What it is to detect and where, and the limits that a promotion asks for, before any figure is told."""
    facts = (
        ("To detect", ", ".join(card["classes"])),
        ("Cameras", ", ".join(ingest["cameras"])),
        ("Recall asked of a condition", f"{preconditions['recall_floor']:g}"),
        ("What cannot be assessed", "refuses the promotion" if gate["strict"] else "becomes a condition"),
    )
    sources = ", ".join(it.origin for it in (card, ingest, preconditions, gate))
    lines = limits(gate, register)
    origins = ", ".join(dict.fromkeys([gate.origin, *([register.origin] if register["comparison"] else [])]))
    table = Table("What a promotion asks for", ("Figure", "Asked", "Of"), _rows(lines), origins)
    notes = (
        "Set in section gate of params.yaml before anything was measured; the verdict goes through them line by line.",
    )
    question = "What is it for, and what must it do?"
    return Section("purpose", "Purpose and conditions asked", question, facts, notes, (table,), source=sources)


def _rows(lines: Sequence[Mapping[str, Any]]) -> tuple[tuple[Any, ...], ...]:
    """A row for every figure and bound, with all that it is asked of."""
    of: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        whose, name = _parted(line["limit"])
        of.setdefault((name, asked(line["min"], line["max"])), []).append(whose)
    return tuple((text(name), text(bound), text(", ".join(whose))) for (name, bound), whose in of.items())


def _parted(limit: str) -> tuple[str, str]:
    """Whose figure, and which: `camera lobby: recall`, `verify.cpu/int8: AP lost`, `class.person.AP50`, `AP50`."""
    whose, _, name = limit.rpartition(": ") if ": " in limit else limit.rpartition(".")
    return whose or EVERYWHERE, name
