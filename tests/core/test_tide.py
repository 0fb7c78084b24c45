"""TIDE against the authors' definitions by injected faults, and against another implementation's figures."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core import tide
from pipeline.core.matching import match_overlaps, overlaps
from pipeline.core.tide import Cause, Error
from pipeline.core.types import Detections, Truth
from pipeline.io import coco_eval

Box = tuple[float, float, float, float]
OBJECT: Box = (0, 0, 100, 100)


def truth(*rows: tuple[Box, int], ignore: tuple[bool, ...] = ()) -> Truth:
    return Truth(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.int64),
        np.array(ignore or [False] * len(rows), np.bool_),
    )


def found(*rows: tuple[Box, float, int]) -> Detections:
    return Detections(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.float32),
        np.array([r[2] for r in rows], np.int64),
    )


def tall(iou: float) -> Box:
    """A box that overlaps OBJECT so far."""
    return 0, 0, 100, 100 * iou


def diagnose(truths: list[Truth], detections: list[Detections], classes: int = 2) -> tuple[tide.Errors, tide.Tide]:
    near = overlaps(truths, detections)
    matched = match_overlaps(near, 0.5)
    errors = tide.errors(near, matched, 0.5)
    return errors, tide.tide(matched, errors, classes)


FAR: Box = (500, 500, 600, 600)


@pytest.mark.parametrize(
    ("truths", "detections", "kinds", "missed"),
    [
        pytest.param(truth((OBJECT, 0)), found((OBJECT, 0.9, 0)), [Error.NONE], 0, id="hit"),
        pytest.param(truth((OBJECT, 0)), found((OBJECT, 0.9, 1)), [Error.CLASSIFICATION], 0, id="class"),
        pytest.param(truth((OBJECT, 0)), found((tall(0.49), 0.9, 0)), [Error.LOCALISATION], 0, id="place"),
        pytest.param(truth((OBJECT, 0)), found((tall(0.1), 0.9, 0)), [Error.LOCALISATION], 0, id="place-at-the-bound"),
        pytest.param(truth((OBJECT, 0)), found((tall(0.3), 0.9, 1)), [Error.BOTH], 1, id="both"),
        pytest.param(truth((OBJECT, 0)), found((tall(0.09), 0.9, 0)), [Error.BACKGROUND], 1, id="background"),
        pytest.param(truth(), found((OBJECT, 0.9, 0)), [Error.BACKGROUND], 0, id="empty-frame"),
        pytest.param(truth((OBJECT, 0)), found(), [], 1, id="missed"),
        pytest.param(
            truth((OBJECT, 0)), found((OBJECT, 0.9, 0), (tall(0.8), 0.5, 0)), [Error.NONE, Error.DUPLICATE], 0,
            id="duplicate",
        ),
        pytest.param(
            truth((OBJECT, 0), (tall(0.6), 1)), found((OBJECT, 0.9, 0), (tall(0.3), 0.5, 0)),
            [Error.NONE, Error.LOCALISATION], 1, id="place-before-class",
        ),
        pytest.param(
            truth((OBJECT, 0), (FAR, 0), ignore=(True, False)), found((tall(0.5), 0.9, 0)), [Error.NONE], 1,
            id="ignored",
        ),
    ],
)  # fmt: skip
def test_kinds(truths: Truth, detections: Detections, kinds: list[Error], missed: int) -> None:
    errors, _ = diagnose([truths], [detections])
    assert errors.of.tolist() == kinds
    assert errors.missed.sum() == missed


def test_of_several_that_would_find_an_object_the_best_is_mended() -> None:
    """Mended, the poor boxes at 0.6 and 0.9 are one hit; as they are, nothing is found."""
    errors, lost = diagnose([truth((OBJECT, 0))], [found((tall(0.3), 0.6, 0), (tall(0.2), 0.9, 0))])
    assert errors.mends.tolist() == [-1, 0]
    assert (lost.average_precision, lost.gain["localisation"], lost.gain["missed"]) == (0.0, 1.0, 0.0)


def test_an_object_that_is_found_cannot_be_found_again() -> None:
    """The false alarm before the hit halves the precision; mending it can only leave it out."""
    errors, lost = diagnose([truth((OBJECT, 0))], [found((OBJECT, 0.9, 1), (OBJECT, 0.5, 0))])
    assert errors.mends.tolist() == [-1, -1]
    assert lost.average_precision == 1.0  # the class that has no object has no average precision
    assert lost.gain["classification"] == 0.0


def test_by_hand() -> None:
    """Two objects; a false alarm on the background ranks first, one object is found, the other one missed."""
    _, lost = diagnose([truth((OBJECT, 0), (FAR, 0))], [found(((300, 0, 400, 100), 0.9, 0), (OBJECT, 0.5, 0))])
    now = 51 / 101 * 0.5
    assert lost.average_precision == pytest.approx(now)
    assert lost.gain["background"] == pytest.approx(51 / 101 - now)
    assert lost.gain["missed"] == pytest.approx(0.5 - now)
    assert lost.gain["false_positive"] == pytest.approx(51 / 101 - now)
    assert lost.gain["false_negative"] == pytest.approx(0.5 - now)
    assert lost.count == {
        "classification": 0, "localisation": 0, "both": 0, "duplicate": 0, "background": 1, "missed": 1,
    }  # fmt: skip


def test_nothing_at_all_costs_nothing() -> None:
    _, lost = diagnose([truth()], [found()])
    assert lost.average_precision == 0.0
    assert set(lost.gain.values()) == {0.0}


Rows = NDArray[np.float64]  # (N, 6) x1, y1, x2, y2, score, class
Fault = Callable[[Rows, NDArray[np.bool_]], Rows]


def shifted(rows: Rows, chosen: NDArray[np.bool_]) -> Rows:
    """By half their width: IoU 1/3."""
    rows[chosen, :4] += np.outer((rows[chosen, 2] - rows[chosen, 0]) / 2, [1, 0, 1, 0])
    return rows


def swapped(rows: Rows, chosen: NDArray[np.bool_]) -> Rows:
    rows[chosen, 5] = 1 - rows[chosen, 5]
    return rows


def both(rows: Rows, chosen: NDArray[np.bool_]) -> Rows:
    """As many boxes more, shifted and of the other class; instead of the good ones they would leave misses too."""
    more = np.ones(int(chosen.sum()), np.bool_)
    return np.vstack([rows, swapped(shifted(rows[chosen], more), more)])


def doubled(rows: Rows, chosen: NDArray[np.bool_]) -> Rows:
    """Three more of each, a pixel off, that score almost as well."""
    more = [rows[chosen] + [n, 0, n, 0, -0.01 * n, 0] for n in (1, 2, 3)]
    return np.vstack([rows, *more])


def dropped(rows: Rows, chosen: NDArray[np.bool_]) -> Rows:
    return rows[~chosen]


def on_background(rows: Rows, chosen: NDArray[np.bool_]) -> Rows:
    """As many boxes more, where nothing is."""
    return np.vstack([rows, rows[chosen] + [0, 500, 0, 500, 0, 0]])


def scene(fault: Fault, seed: int = 0) -> tuple[list[Truth], list[Detections]]:
    """200 frames of three objects far apart, found perfectly but for the fault in a third of the boxes."""
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for _ in range(200):
        left = np.arange(3) * 300.0
        sides = rng.uniform(40, 120, (3, 2))
        boxes = np.column_stack([left, np.zeros(3), left + sides[:, 0], sides[:, 1]])
        labels = rng.integers(0, 2, 3)
        rows = fault(np.column_stack([boxes, rng.uniform(0.3, 0.9, 3), labels]), rng.random(3) < 1 / 3)
        truths.append(Truth(boxes.astype(np.float32), labels, np.zeros(3, np.bool_)))
        detections.append(
            Detections(rows[:, :4].astype(np.float32), rows[:, 4].astype(np.float32), rows[:, 5].astype(np.int64))
        )
    return truths, detections


@pytest.mark.parametrize(
    ("fault", "bar"),
    [
        pytest.param(shifted, "localisation", id="shifted-boxes"),
        pytest.param(swapped, "classification", id="swapped-classes"),
        pytest.param(both, "both", id="shifted-and-swapped"),
        pytest.param(doubled, "duplicate", id="duplicates"),
        pytest.param(dropped, "missed", id="dropped"),
        pytest.param(on_background, "background", id="background-boxes"),
    ],
)
def test_an_injected_fault_moves_its_own_bar_most(fault: Fault, bar: str) -> None:
    _, clean = diagnose(*scene(lambda rows, _: rows))
    _, faulty = diagnose(*scene(fault))
    assert clean.average_precision == 1.0
    assert set(clean.gain.values()) == {0.0}
    moved = {name: faulty.gain[name] for name in faulty.count}
    assert moved[bar] > 0.03
    rest = {name: gain for name, gain in moved.items() if name != bar}
    assert moved[bar] > 2 * max(rest.values())
    assert sum(faulty.count.values()) == faulty.count[bar] > 100


def noisy(seed: int) -> tuple[list[Truth], list[Detections]]:
    """Everything that goes wrong at once, in three classes, without ties and ignore regions."""
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for _ in range(150):
        m, extra = int(rng.integers(0, 8)), int(rng.poisson(2))
        corners, sides = rng.random((m, 2)) * [600, 300], np.exp(rng.uniform(2.5, 5, (m, 2)))
        boxes, labels = np.hstack([corners, corners + sides]), rng.integers(0, 3, m)
        seen = np.flatnonzero(rng.random(m) > 0.15)
        seen = np.concatenate([seen, seen[rng.random(len(seen)) < 0.1]])
        near = boxes[seen] + rng.normal(0, 0.12, (len(seen), 4)) * np.tile(sides[seen], 2)
        said = np.where(rng.random(len(seen)) < 0.08, rng.integers(0, 3, len(seen)), labels[seen])
        corners, sides = rng.random((extra, 2)) * [600, 300], np.exp(rng.uniform(2.5, 5, (extra, 2)))
        every = np.vstack([near, np.hstack([corners, corners + sides])])
        every[:, 2:] = np.maximum(every[:, 2:], every[:, :2] + 1)
        scores = np.concatenate([rng.beta(5, 2, len(seen)), rng.beta(2, 4, extra)])
        truths.append(Truth(boxes.astype(np.float32), labels, np.zeros(m, np.bool_)))
        detections.append(
            Detections(
                every.astype(np.float32), scores.astype(np.float32), np.concatenate([said, rng.integers(0, 3, extra)])
            )
        )
    return truths, detections


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_another_implementation(seed: int) -> None:
    truths, detections = noisy(seed)
    _, ours = diagnose(truths, detections, 3)
    theirs = coco_eval.evaluate(*coco_eval.tables(truths, detections, ["a", "b", "c"])).tide_errors(0.5, 0.1)
    names = {"Cls": "classification", "Loc": "localisation", "Both": "both", "Dupe": "duplicate", "Bkg": "background"}
    names |= {"Miss": "missed", "FP": "false_positive", "FN": "false_negative"}
    assert ours.average_precision == pytest.approx(theirs["ap_base"], abs=1e-9)
    assert ours.gain == pytest.approx({names[key]: value for key, value in theirs["delta_ap"].items()}, abs=1e-9)
    assert ours.count == {names[key]: value for key, value in theirs["counts"].items()}


def test_causes_of_false_alarms() -> None:
    near = overlaps(
        [truth((OBJECT, 0), ((200, 0, 300, 100), 0))],
        [
            found(
                (OBJECT, 0.9, 0), (tall(0.9), 0.8, 0), (FAR, 0.7, 0), ((200, 0, 300, 100), 0.6, 1),
                ((200, 0, 300, 30), 0.5, 0), ((200, 0, 300, 30), 0.4, 1), (FAR, 0.1, 0),
            )
        ],
    )  # fmt: skip
    matched = match_overlaps(near, 0.5)
    alarms = matched.false_alarms(np.array([0.3, 0.3]))
    causes = tide.causes(tide.errors(near, matched, 0.5), alarms)
    assert causes.tolist() == [
        Cause.DUPLICATE, Cause.BACKGROUND, Cause.OTHER_CLASS, Cause.POOR_BOX, Cause.OTHER_CLASS,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("box", "cells"),
    [
        pytest.param((0, 0, 10, 10), [[1, 0], [0, 0]], id="one-cell"),
        pytest.param((5, 5, 15, 6), [[1, 1], [0, 0]], id="two-cells"),
        pytest.param((-5, -5, 25, 25), [[1, 1], [1, 1]], id="past-the-edges"),
    ],
)
def test_heat_counts_the_cells_that_a_box_touches(box: Box, cells: list[list[int]]) -> None:
    assert tide.heat(np.array([box], np.float64), (20, 20), (2, 2)).tolist() == cells
