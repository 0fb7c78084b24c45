import numpy as np
import pytest

from pipeline.core.agreement import agreement, consensus, match
from pipeline.core.types import Annotation, Origin


def box(x: float, y: float = 0, side: float = 10, label: str = "person", who: str = "1", **more: object) -> Annotation:
    return Annotation("f", label, x, y, side, side, annotators=(who,), **more)  # type: ignore[arg-type]


# Two boxes of side 10, shifted by d, overlap 10 - d wide: IoU = (10 - d) / (10 + d).
@pytest.mark.parametrize(
    ("a", "b", "pairs"),
    [
        pytest.param([], [box(0)], [], id="nothing-to-match"),
        pytest.param([box(0)], [box(2)], [(0, 0, 8 / 12)], id="shifted"),
        pytest.param([box(0)], [box(4)], [], id="too-far"),
        pytest.param([box(0)], [box(0, label="vehicle")], [], id="other-label"),
        pytest.param([box(0)], [box(0, ignore=True)], [], id="ignore-region-is-no-object"),
        # greedy would take (1, 0) with IoU 9/11 and leave (0, 0); together 8/12 + 8/12 is more
        pytest.param([box(0), box(3)], [box(2), box(5)], [(0, 0, 8 / 12), (1, 1, 8 / 12)], id="optimal-not-greedy"),
    ],
)
def test_match_finds_the_assignment_with_most_overlap(
    a: list[Annotation], b: list[Annotation], pairs: list[tuple[int, int, float]]
) -> None:
    found = match(a, b, 0.5)
    assert [(i, j) for i, j, _ in found] == [(i, j) for i, j, _ in pairs]
    assert [m[2] for m in found] == pytest.approx([m[2] for m in pairs])


@pytest.mark.parametrize(
    ("versions", "iou", "f1"),
    [
        pytest.param([[], []], None, 1.0, id="both-found-nothing"),
        pytest.param([[box(0)], []], None, 0.0, id="one-found-nothing"),
        pytest.param([[box(0)], [box(2)]], 8 / 12, 1.0, id="shifted"),
        pytest.param([[box(0), box(50)], [box(0)]], 1.0, 2 / 3, id="one-missed"),  # F1 = 2 * 1 / (2 + 1)
        pytest.param([[box(0)], [box(0)], []], 1.0, 1 / 3, id="mean-over-three-pairs"),
    ],
)
def test_agreement_by_hand(versions: list[list[Annotation]], iou: float | None, f1: float) -> None:
    agreed = agreement(versions, 0.5)
    assert agreed is not None
    assert agreed.f1 == pytest.approx(f1)
    assert agreed.iou == (iou if iou is None else pytest.approx(iou))


def test_one_annotator_agrees_with_nobody() -> None:
    assert agreement([[box(0)]], 0.5) is None
    assert consensus([[box(0)]], 0.5).annotations == (box(0),)


def test_consensus_is_the_mean_of_the_corners() -> None:
    result = consensus([[box(0, who="1")], [box(2, who="2")]], 0.5)
    (merged,) = result.annotations
    assert merged.xyxy == (1, 0, 11, 10)
    assert merged.annotators == ("1", "2")
    assert merged.agreement == pytest.approx(9 / 11)  # each is shifted by 1
    assert (result.disputed, result.outvoted) == (0, 0)


@pytest.mark.parametrize(
    ("drew", "kept", "disputed", "outvoted"),
    [
        pytest.param([1, 1], 1, 0, 0, id="2-of-2"),
        pytest.param([1, 0], 1, 1, 0, id="1-of-2-is-kept"),
        pytest.param([0, 1], 1, 1, 0, id="the-second-alone"),
        pytest.param([1, 0, 0], 0, 0, 1, id="1-of-3-is-outvoted"),
        pytest.param([0, 1, 1], 1, 1, 0, id="2-of-3"),
        pytest.param([1, 0, 1, 0], 1, 1, 0, id="2-of-4"),
    ],
)
def test_at_least_half_must_have_drawn_it(drew: list[int], kept: int, disputed: int, outvoted: int) -> None:
    versions = [[box(0, who=str(i))] if yes else [] for i, yes in enumerate(drew)]
    result = consensus(versions, 0.5)
    assert (len(result.annotations), result.disputed, result.outvoted) == (kept, disputed, outvoted)
    for annotation in result.annotations:
        assert annotation.agreement == pytest.approx(sum(drew) / len(drew))


def test_majority_decides_and_the_first_annotator_breaks_ties() -> None:
    said = [{"a": "x", "b": "1"}, {"a": "y", "b": "2"}, {"a": "y", "b": "3"}]
    origins = [Origin.CORRECTED, Origin.HUMAN, Origin.HUMAN]
    versions = [
        [box(0, who=str(i), attributes=s, origin=o)] for i, (s, o) in enumerate(zip(said, origins, strict=True))
    ]
    (merged,) = consensus(versions, 0.5).annotations
    assert merged.attributes == {"a": "y", "b": "1"}
    assert merged.origin is Origin.HUMAN


def test_crowded_boxes_keep_apart() -> None:
    rng = np.random.default_rng(0)
    places = [(x * 8.0, y * 8.0) for x in range(6) for y in range(6)]
    versions = [[box(x + rng.normal(0, 0.3), y + rng.normal(0, 0.3)) for x, y in places] for _ in range(3)]
    result = consensus(versions, 0.5)
    assert len(result.annotations) == 36
    assert result.disputed == 0


V, P = "vehicle", "person"


# What three annotators call one object (None: not drawn), and what becomes of it.
@pytest.mark.parametrize(
    ("names", "kept", "disputed"),
    [
        pytest.param([P, P], P, 0, id="agreed"),
        pytest.param([P, V], P, 1, id="tie-goes-to-the-earliest"),
        pytest.param([V, P], V, 1, id="tie-the-other-way"),
        pytest.param([V, P, P], P, 1, id="majority"),
        pytest.param([None, P, V], P, 1, id="the-earliest-who-drew-it"),
        pytest.param([V, P, None, P], P, 1, id="majority-of-those-who-drew-it"),
        pytest.param([V, None, None], None, 0, id="outvoted-whatever-it-is"),
    ],
)
def test_two_names_of_one_object_are_one_object(names: list[str | None], kept: str | None, disputed: int) -> None:
    versions = [[box(0, label=name, who=str(i))] if name else [] for i, name in enumerate(names)]
    result = consensus(versions, 0.5)
    assert [a.label for a in result.annotations] == ([kept] if kept else [])
    assert result.disputed == disputed
    for annotation in result.annotations:
        assert annotation.annotators == tuple(str(i) for i, name in enumerate(names) if name)
        assert annotation.xyxy == (0, 0, 10, 10)


def test_agreement_stays_strict_about_names() -> None:
    agreed = agreement([[box(0)], [box(0, label=V)]], 0.5)
    assert agreed is not None
    assert (agreed.iou, agreed.f1) == (None, 0)


def test_whether_it_is_an_ignore_region_is_part_of_the_name() -> None:
    (merged,) = consensus([[box(0, ignore=True)], [box(0)], [box(1)]], 0.5).annotations
    assert not merged.ignore


def test_place_goes_before_name() -> None:
    # The second annotator draws only the object at 3 and calls it a person. The person at 0 overlaps it with
    # IoU 7/13, the vehicle at 3 with 1: it is the vehicle.
    result = consensus([[box(0), box(3, label=V)], [box(3, who="2")]], 0.5)
    assert [(a.label, a.xyxy[0], len(a.annotators)) for a in result.annotations] == [(P, 0, 1), (V, 3, 2)]


def test_of_boxes_that_lie_alike_those_of_one_name_are_a_pair() -> None:
    versions = [[box(0, label=P), box(0, label=V)], [box(0, label=V), box(0, label=P)]]
    result = consensus(versions, 0.5)
    assert [a.label for a in result.annotations] == [P, V]
    assert result.disputed == 0
