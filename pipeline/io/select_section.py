"""The report's section on what to label next, from the figures that `select` left."""

from collections import Counter
from collections.abc import Sequence

from pipeline.io.documents import Figures, Folder
from pipeline.io.page import Cell, Section, Table, figure, number, text
from pipeline.io.sections import drawn

SHEET = (
    "select/sheet.png",
    "The first frames to label, best first; boxes are what the detector reports now",
    "Pictures of the first frames to label; the table names them",
)
SHOWN = 20
UNPROVEN = "In simulation this choice is not surely better than chance: 0.000 to 0.006 AP50 (docs/selection.md)."
NEW = ("uncertainty", "disagreement", "weakness", "rarity")
LABELLED = ("suspicion", "uncertainty", "disagreement", "weakness")


def selection(figures: Figures, reports: Folder) -> Section:
    """The frames to label, those to look at again, and why no others."""
    title, question = "What to label next", "Which frames teach most?"
    chosen, again = figures["frames"], figures["second_looks"]
    cameras = Counter(it["camera"] for it in chosen)
    facts = (
        ("Unlabelled frames", figure(figures["unlabelled"])),
        ("Chosen", f"{figure(len(chosen))} of at most {figure(figures['budget'])}"),
        ("By camera", ", ".join(f"{name} {figure(count)}" for name, count in sorted(cameras.items())) or "-"),
        ("Labels in doubt, train and val", f"{figure(figures['in_doubt'])} of {figure(figures['labelled'])} frames"),
    )
    notes = [_left_out(figures["left_out"])] if figures["unlabelled"] else []
    notes += ["Send them to annotators: sightline labels push --only reports/select/frames.txt"] if chosen else []
    notes += [] if chosen else ["There is no frame to label. Record more; the preconditions say what is lacking."]
    notes.append("A signal is 0 to 1; a score is their weighted mean. The benchmark is never chosen from.")
    notes += [UNPROVEN] if chosen else []
    tables = []
    if chosen:
        tables.append(_table(f"The first {min(len(chosen), SHOWN)} frames to label", chosen, NEW, figures.origin))
    if again:
        caption = f"The first {min(len(again), SHOWN)} labelled frames to look at again"
        tables.append(_table(caption, again, LABELLED, figures.origin))
    pictures = (drawn(reports, "select", *SHEET),) if chosen else ()
    return Section("select", title, question, facts, tuple(notes), tuple(tables), pictures, figures.origin)


def _left_out(counts: Figures) -> str:
    told = "; ".join(f"{figure(count)}: {why}" for why, count in counts.items() if count)
    return f"Left out of the unlabelled ones: {told or 'none'}."


def _table(caption: str, rows: Sequence[Figures], signals: Sequence[str], origin: str) -> Table:
    header = ("Camera", "Clip", "Index", "Score", *(name.capitalize() for name in signals), "Why")
    return Table(caption, header, tuple(_cells(it, signals) for it in rows[:SHOWN]), origin)


def _cells(it: Figures, signals: Sequence[str]) -> tuple[Cell, ...]:
    place = text(it["camera"]), text(it["clip"]), number(it["index"])
    values = (number(it["signals"].get(name), 2) for name in signals)
    return (*place, number(it["score"], 2), *values, text(it["reason"]))
