"""The three kinds by hand, and a simulation: faults planted in good labels must come first, and few others."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from pipeline.core.label_quality import Issue, Kind, frame_issues, label_issues
from pipeline.core.types import Detections, Truth

AT = np.array([0.4, 0.4])
PERSON, VEHICLE = 0, 1
BOX, FAR = (0, 0, 20, 40), (100, 0, 120, 40)
HALF = (0, 0, 20, 20)  # IoU 1/2 with BOX
THIRD = (10, 0, 30, 40)  # IoU 1/3 with BOX
TENTH = (18, 0, 38, 40)  # IoU 2/38 with BOX: below 0.1
Box = tuple[float, float, float, float]


def truth(*rows: tuple[Box, int], ignore: bool = False) -> Truth:
    boxes = np.array([r[0] for r in rows], np.float32).reshape(-1, 4)
    return Truth(boxes, np.array([r[1] for r in rows], np.int64), np.full(len(rows), ignore))


def found(*rows: tuple[Box, float, int]) -> Detections:
    return Detections(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.float32),
        np.array([r[2] for r in rows], np.int64),
    )


def both(first: Truth, second: Truth) -> Truth:
    pairs = (first.boxes, second.boxes), (first.labels, second.labels), (first.ignore, second.ignore)
    return Truth(*(np.concatenate(pair) for pair in pairs))  # type: ignore[arg-type]


HUMAN = truth((BOX, PERSON))


@pytest.mark.parametrize(
    ("human", "model", "expected"),
    [
        pytest.param(HUMAN, found((BOX, 0.9, PERSON)), [], id="agreed"),
        pytest.param(HUMAN, found(), [], id="a-miss-is-no-label-issue"),
        pytest.param(truth(), found(), [], id="empty"),
        pytest.param(truth(), found((BOX, 0.9, PERSON)), [(Kind.MISSING_LABEL, 0.9)], id="missing"),
        pytest.param(truth(), found((BOX, 0.39, PERSON)), [], id="below-the-operating-point"),
        pytest.param(HUMAN, found((TENTH, 0.8, PERSON)), [(Kind.MISSING_LABEL, 0.8 * 36 / 38)], id="hardly-touching"),
        pytest.param(
            HUMAN,
            found((BOX, 0.9, PERSON), (THIRD, 0.6, PERSON)),
            [(Kind.MISSING_LABEL, 0.6 * 2 / 3)],
            id="missing-beside-one-that-is-found",
        ),
        pytest.param(
            truth(),
            found((BOX, 0.9, PERSON), ((0, 0, 20, 38), 0.5, VEHICLE), (FAR, 0.6, PERSON)),
            [(Kind.MISSING_LABEL, 0.9), (Kind.MISSING_LABEL, 0.6)],
            id="one-missing-object-is-one-issue",
        ),
        pytest.param(HUMAN, found((BOX, 0.9, PERSON), (HALF, 0.8, PERSON)), [], id="seen-twice"),
        pytest.param(HUMAN, found((BOX, 0.9, VEHICLE)), [(Kind.WRONG_CLASS, 0.9)], id="wrong-class"),
        pytest.param(HUMAN, found((HALF, 0.8, VEHICLE)), [(Kind.WRONG_CLASS, 0.4)], id="wrong-class-half-the-box"),
        pytest.param(
            HUMAN, found((BOX, 0.8, VEHICLE), (BOX, 0.25, PERSON)), [(Kind.WRONG_CLASS, 0.6)], id="some-backing"
        ),
        pytest.param(
            HUMAN, found((BOX, 0.8, VEHICLE), (BOX, 0.5, PERSON)), [(Kind.WRONG_CLASS, 0.4)], id="more-backing"
        ),
        pytest.param(HUMAN, found((BOX, 0.8, VEHICLE), (BOX, 0.9, PERSON)), [], id="backed-by-the-stronger"),
        pytest.param(
            both(HUMAN, truth((BOX, VEHICLE))),
            found((BOX, 0.8, VEHICLE), (BOX, 0.5, PERSON)),
            [],
            id="both-classes-on-one-place",
        ),
        pytest.param(HUMAN, found((HALF, 0.8, PERSON)), [(Kind.LOOSE_BOX, 0.4)], id="loose-and-still-a-hit"),
        pytest.param(HUMAN, found((THIRD, 0.9, PERSON)), [(Kind.LOOSE_BOX, 0.6)], id="loose-and-no-hit"),
        pytest.param(HUMAN, found(((0, 0, 20, 29), 0.9, PERSON)), [], id="tight-enough"),
        pytest.param(
            HUMAN, found((HALF, 0.8, PERSON), (BOX, 0.9, VEHICLE)), [(Kind.WRONG_CLASS, 0.18)], id="one-issue-a-box"
        ),
        pytest.param(HUMAN, found((THIRD, 0.9, VEHICLE)), [(Kind.MISSING_LABEL, 0.6)], id="other-class-elsewhere"),
        pytest.param(truth((BOX, PERSON), ignore=True), found((HALF, 0.9, PERSON)), [], id="in-an-ignore-region"),
        pytest.param(
            truth((BOX, PERSON), ignore=True),
            found((BOX, 0.9, VEHICLE)),
            [(Kind.MISSING_LABEL, 0.9)],
            id="the-region-of-another-class",
        ),
    ],
)
def test_what_is_an_issue(human: Truth, model: Detections, expected: list[tuple[Kind, float]]) -> None:
    issues = frame_issues("f", human, model, AT, 0.5)
    assert [issue.kind for issue in issues] == [kind for kind, _ in expected]
    assert [issue.suspicion for issue in issues] == pytest.approx([suspicion for _, suspicion in expected])


def test_an_issue_names_both_boxes() -> None:
    (swapped,) = frame_issues("f", HUMAN, found((HALF, 0.75, VEHICLE)), AT, 0.5)
    assert swapped == Issue("f", Kind.WRONG_CLASS, 0.375, VEHICLE, 0.75, HALF, PERSON, BOX, 0.5)
    (missing,) = frame_issues("f", truth(), found((FAR, 0.75, PERSON)), AT, 0.5)
    assert missing == Issue("f", Kind.MISSING_LABEL, 0.75, PERSON, 0.75, FAR)


def test_the_most_suspect_comes_first_and_ties_keep_the_frames_order() -> None:
    seen = [found((BOX, 0.5, PERSON)), found((FAR, 0.9, PERSON), (BOX, 0.5, PERSON))]
    issues = label_issues(["b", "a"], [truth(), truth()], seen, AT, 0.5)
    assert [(i.frame_id, i.box) for i in issues] == [("a", FAR), ("a", BOX), ("b", BOX)]


@pytest.mark.parametrize("match_iou", [0.3, 0.5, 0.8])
def test_crowds_give_at_most_one_issue_a_detection_and_a_human_box(match_iou: float) -> None:
    rng = np.random.default_rng(0)
    issues = 0
    for _ in range(300):
        human, model = crowd(rng)
        found_here = frame_issues("f", human, model, AT, match_iou)
        detections = [(i.box, i.label, i.score) for i in found_here]
        people = [(i.human_box, i.human_label) for i in found_here if i.human_box]
        assert len(set(detections)) == len(detections)
        assert len(set(people)) == len(people)
        assert all(0 <= i.suspicion <= i.score for i in found_here)
        issues += len(found_here)
    assert issues > 300


def crowd(rng: np.random.Generator) -> tuple[Truth, Detections]:
    """Boxes on one another; no two detections and no two human boxes are equal."""
    m, n = rng.integers(0, 8, 2)
    boxes = rng.uniform(0, 60, (m + n, 2))
    corners = np.hstack([boxes, boxes + rng.uniform(5, 40, (m + n, 2))]).astype(np.float32)
    labels = rng.integers(0, 2, m + n)
    scores = rng.uniform(0, 1, n).astype(np.float32)
    return Truth(corners[:m], labels[:m], rng.random(m) < 0.2), Detections(corners[m:], scores, labels[m:])


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A data set with planted faults. Objects are numbered over all frames."""

    truths: list[Truth]
    found: list[Detections]
    fault: dict[tuple[str, Box], Kind | None]  # by frame and the object's true box


FRAMES, COLUMNS, ROWS = 150, 4, 2
CELL = 100.0  # pixels: an object has a place of its own, with neighbours that it may touch
SHARE = 0.04  # of the objects, for each kind of fault


def simulate(seed: int, share: float) -> World:
    """Labels of people who draw well but for the planted faults, and a detector that is good but not perfect.

    It finds 95 % of the objects, each corner off by a normal error of 3 % of the side, scores Beta(9, 2); names 2 % of
    them wrongly, with lower scores, Beta(4, 4); and sees something in 2 % of the empty places, Beta(2, 5).
    """
    rng = np.random.default_rng(seed)
    truths, detections, fault = [], [], {}
    for f in range(FRAMES):
        here = rng.random(COLUMNS * ROWS) < 0.6
        human: list[tuple[Box, int]] = []
        model: list[tuple[Box, float, int]] = []
        for cell in range(COLUMNS * ROWS):
            place, label = _object(rng, cell), int(rng.integers(0, 2))
            if not here[cell]:
                model += [(_box(place), rng.beta(2, 5), label)] if rng.random() < 0.02 else []
                continue
            kind = _planted(rng, share)
            fault[f"{f:03d}", _box(place)] = kind
            human += _drawn(rng, place, label, kind)
            model += _seen(rng, place, label)
        truths.append(truth(*human))
        detections.append(found(*model))
    return World(truths, detections, fault)


def _object(rng: np.random.Generator, cell: int) -> NDArray[np.float64]:
    corner = np.array([cell % COLUMNS, cell // COLUMNS]) * CELL + rng.uniform(0, 40, 2)
    return np.concatenate([corner, corner + rng.uniform(30, 70, 2)]).round()


def _box(place: NDArray[np.float64]) -> Box:
    return tuple(np.asarray(place, np.float32).tolist())


def _planted(rng: np.random.Generator, share: float) -> Kind | None:
    draw = int(rng.random() / share) if share else len(Kind)
    return list(Kind)[draw] if draw < len(Kind) else None


def _noisy(rng: np.random.Generator, place: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    return place + rng.normal(0, share, 4) * np.tile(place[2:] - place[:2], 2)


def _drawn(
    rng: np.random.Generator, place: NDArray[np.float64], label: int, kind: Kind | None
) -> list[tuple[Box, int]]:
    """What a person draws: within 2 % of the side; a loose box is moved by a third of the side, or scaled by 1.6."""
    if kind is Kind.MISSING_LABEL:
        return []
    side = np.tile(place[2:] - place[:2], 2)
    if kind is Kind.LOOSE_BOX:
        moved, grown = side * rng.choice([-1, 1]) / 3, side * np.array([-0.3, -0.3, 0.3, 0.3])
        place = place + (moved if rng.random() < 0.5 else grown)
    return [(_box(_noisy(rng, place, 0.02)), 1 - label if kind is Kind.WRONG_CLASS else label)]


def _seen(rng: np.random.Generator, place: NDArray[np.float64], label: int) -> list[tuple[Box, float, int]]:
    if rng.random() < 0.05:
        return []
    wrong = rng.random() < 0.02
    score = rng.beta(4, 4) if wrong else rng.beta(9, 2)
    return [(_box(_noisy(rng, place, 0.03)), score, 1 - label if wrong else label)]


def judged(world: World) -> list[tuple[Issue, Kind | None]]:
    """Issues, the most suspect first, and the fault planted in the object that the model's box is nearest to."""
    ids = [f"{f:03d}" for f in range(FRAMES)]
    issues = label_issues(ids, world.truths, world.found, AT, 0.5)
    return [(issue, world.fault[nearest]) for issue in issues if (nearest := _nearest(world, issue))]


def _nearest(world: World, issue: Issue) -> tuple[str, Box] | None:
    distance = {
        key: float(np.abs(np.subtract(key[1], issue.box)).max()) for key in world.fault if key[0] == issue.frame_id
    }
    best = min(distance, key=lambda key: distance[key], default=None)
    return best if best and distance[best] < 30 else None


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("seed", range(3))
def test_planted_faults_come_first(seed: int, kind: Kind) -> None:
    """Of a kind: over 80 % of as many issues as there are faults are theirs, where chance would give 4 %."""
    world = simulate(seed, SHARE)
    planted = sum(fault is kind for fault in world.fault.values())
    assert planted > 15
    top = [fault for issue, fault in judged(world) if issue.kind is kind][:planted]
    assert sum(fault is kind for fault in top) / planted > 0.8


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("seed", range(3))
def test_suspicion_tells_faulty_objects_from_good_ones(seed: int, kind: Kind) -> None:
    """AUROC over all objects (Mann and Whitney's U), an object without an issue of the kind having no suspicion."""
    world = simulate(seed, SHARE)
    suspicion = dict.fromkeys(world.fault, 0.0)
    ids = [f"{f:03d}" for f in range(FRAMES)]
    for issue in label_issues(ids, world.truths, world.found, AT, 0.5):
        nearest = _nearest(world, issue)
        if issue.kind is kind and nearest:
            suspicion[nearest] = max(suspicion[nearest], issue.suspicion)
    bad = [s for key, s in suspicion.items() if world.fault[key] is kind]
    good = [s for key, s in suspicion.items() if world.fault[key] is not kind]
    assert mannwhitneyu(bad, good).statistic / (len(bad) * len(good)) > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_good_labels_raise_little_suspicion(seed: int) -> None:
    """With nothing planted, fewer than 2 % of the objects have an issue of 0.5 or more: the model's own errors."""
    world = simulate(seed, 0)
    ids = [f"{f:03d}" for f in range(FRAMES)]
    issues = label_issues(ids, world.truths, world.found, AT, 0.5)
    assert sum(issue.suspicion >= 0.5 for issue in issues) < 0.02 * len(world.fault)
