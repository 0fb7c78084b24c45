"""What the report draws of a training: every curve with its ends in words and its figures as a table."""

from typing import Any

from pipeline.io.documents import Figures
from pipeline.io.page import Chart
from pipeline.io.training_section import training

CARD = Figures({"name": "nano", "width": 320, "height": 192}, "models/train/model.json", "train")
TRAIN = Figures({"epochs": 3, "best_epoch": 2, "best_val_AP": 0.5}, "models/train/train.json", "train")
ROWS: list[dict[str, Any]] = [
    {"epoch": 1, "loss": 3.0, "loss/box": 1.0, "lr": 0.002},
    {"epoch": 2, "loss": 2.0, "loss/box": 0.5, "lr": 0.001, "val/AP": 0.5, "val/AP50": 0.8},
]


def drawn(rows: list[dict[str, Any]]) -> dict[str, Chart]:
    section = training(TRAIN, CARD, [Figures(row, "models/train/curves.jsonl", "train") for row in rows])
    return {it.caption: it for it in section.pictures if isinstance(it, Chart)}


def test_curves_tell_their_ends_and_their_figures() -> None:
    charts = drawn(ROWS)
    loss = charts["Loss by epoch"]
    assert loss.alt == "Loss by epoch: loss from 3 to 2; loss/box from 1 to 0.5"
    assert loss.legend == ("loss", "loss/box")
    assert 'data-tip="loss/box: 0.5 at epoch 2"' in loss.svg
    assert loss.values is not None
    assert [[cell.text for cell in row] for row in loss.values.rows] == [
        ["1", "3.0000", "1.0000"], ["2", "2.0000", "0.5000"],
    ]  # fmt: skip
    assert charts["Learning rate by epoch"].legend == ()  # one line needs no legend


def test_epochs_without_validation_are_left_out_of_its_table() -> None:
    values = drawn(ROWS)["Validation by epoch"].values
    assert values is not None
    assert [[cell.text for cell in row] for row in values.rows] == [["2", "0.5000", "0.8000"]]


def test_a_training_without_a_curve_still_has_its_facts() -> None:
    assert drawn([]) == {}
    assert drawn(ROWS[:1]).keys() == {"Loss by epoch", "Learning rate by epoch"}
