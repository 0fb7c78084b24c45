"""The report's section on training: what was trained, and how it went, epoch by epoch."""

from collections.abc import Sequence

from pipeline.io import charts
from pipeline.io.documents import Figures
from pipeline.io.page import Chart, Section, Table, figure, number

LOSS, SCORES, RATE = "Loss", "Validation", "Learning rate"


def training(train: Figures, card: Figures, curves: Sequence[Figures]) -> Section:
    """What was trained, and how it went."""
    origin = curves[0].origin if curves else train.origin
    facts = (
        ("Model", str(card["name"])),
        ("Input", f"{card['width']} x {card['height']} px"),
        ("Epochs", figure(train["epochs"])),
        ("Best epoch", figure(train["best_epoch"])),
        ("Validation AP there", figure(train["best_val_AP"])),
    )
    losses = [key for row in curves[:1] for key in row if key == "loss" or key.startswith("loss/")]
    wanted = ((LOSS, losses), (SCORES, ["val/AP", "val/AP50"]), (RATE, ["lr"]))
    drawn = tuple(
        _chart(title, keys, curves, origin)
        for title, keys in wanted
        if any(key in row for key in keys for row in curves)
    )
    return Section("training", "Training", "How did it learn?", facts, pictures=drawn, source=train.origin)


def _chart(title: str, keys: Sequence[str], curves: Sequence[Figures], origin: str) -> Chart:
    found = {key: [(row["epoch"], row[key]) for row in curves if key in row] for key in keys}
    series = {key: points for key, points in found.items() if points}
    ends = "; ".join(f"{key} from {points[0][1]:.3g} to {points[-1][1]:.3g}" for key, points in series.items())
    return Chart(
        f"{title} by epoch",
        f"{title} by epoch: {ends}",
        origin,
        charts.lines(series, "epoch", title.lower(), whole=True),
        tuple(series) if len(series) > 1 else (),
        _values(title, list(series), curves, origin),
    )


def _values(title: str, keys: Sequence[str], curves: Sequence[Figures], origin: str) -> Table:
    rows = tuple(
        (number(row["epoch"]), *(number(row.get(key), 4) for key in keys))
        for row in curves
        if any(key in row for key in keys)
    )
    return Table(f"{title} by epoch, every figure", ("Epoch", *keys), rows, origin)
