"""Gaps and verdicts on simulated benchmarks whose truth is known, and the arithmetic against worked examples."""

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import groups as simulation
from pipeline.core.comparisons import (
    NOT_ASSESSABLE,
    SHOWN,
    WITHIN,
    Comparison,
    Gap,
    compare,
    decide,
    holm,
    mantel_haenszel,
    support,
    told,
)
from pipeline.core.groups import by_object

JAAD = Path(__file__).parents[3] / "shared" / "data" / "jaad" / "jaad_annotations.tar.gz"
REPEATS = 150  # benchmarks/groups.py runs 1,000 of each


def test_without_a_gap_hardly_any_benchmark_flags_a_group() -> None:
    """At most 5 % may; of 150 with 5 %, more than 13 would be a chance of 2 %."""
    assert simulation.no_gap(REPEATS) <= 13 / 150


def test_a_gap_of_ten_points_on_400_objects_is_flagged() -> None:
    assert simulation.planted(REPEATS) >= 0.9 - 2 * 0.0245


def test_a_reversal_is_told() -> None:
    assert simulation.simpson(40) >= 0.9


def one(found_a: list[bool], found_b: list[bool], clusters: int = 20, limit: float = 0.1) -> Comparison:
    """Group a and b, objects dealt to clusters by chance."""
    found = np.array([*found_a, *found_b])
    cluster = np.random.default_rng(0).permutation(len(found)) % clusters
    groups = list(by_object("who", ["a"] * len(found_a) + ["b"] * len(found_b)))
    rows = compare(groups, simulation.evidence(cluster, found, 0, 400), [], limit)
    return rows[-1]


def shares(objects: int, found: int) -> list[bool]:
    """So many objects, those found spread evenly among them."""
    return [(i + 1) * found // objects > i * found // objects for i in range(objects)]


def test_a_gap_and_its_ratio() -> None:
    it = one(shares(400, 380), shares(400, 300))
    assert (it.value, it.reference, it.verdict) == ("b", "a", SHOWN)
    assert (it.recall, it.reference_recall, it.ratio) == pytest.approx((0.75, 0.95, 0.75 / 0.95))
    assert it.raw is not None
    assert it.raw.gap == pytest.approx(0.2)
    assert it.raw.low > 0.1
    assert it.stratified is None


def test_groups_that_are_always_found_have_no_gap_larger_than_the_limit() -> None:
    assert one([True] * 400, [True] * 400).verdict == WITHIN


def test_few_objects_cannot_be_assessed_even_when_all_are_found() -> None:
    it = one([True] * 400, [True] * 20)
    assert (it.verdict, it.reference, it.raw) == (NOT_ASSESSABLE, None, None)


def test_what_is_lacking_is_said() -> None:
    """54 of 60 against 57 of 60: nobody knows. As many more as the power calculation asks settle it."""
    it = one(shares(60, 57), shares(60, 54))
    assert it.verdict == NOT_ASSESSABLE
    assert 50 < it.more_objects < 1000
    assert it.more_clusters == 0


def test_too_few_clusters_are_lacking_clusters() -> None:
    it = one(shares(400, 380), shares(400, 300), clusters=6)
    assert (it.verdict, it.more_clusters, it.raw) == (NOT_ASSESSABLE, 4, None)


def test_conditions_that_no_object_shares_are_not_compared() -> None:
    """All of a are near, all of b far: no stratum has both."""
    rng = np.random.default_rng(0)
    who = ["a"] * 400 + ["b"] * 400
    far = ["near"] * 400 + ["far"] * 400
    groups = [*by_object("distance", far), *by_object("who", who)]
    found = np.arange(800) % 10 > 1
    rows = compare(groups, simulation.evidence(rng.integers(0, 40, 800), found, 0, 400), ["distance"], 0.1)
    it = next(row for row in rows if row.attribute == "who")
    assert (it.strata, it.shared, it.stratified) == (("distance",), 0.0, None)


def test_an_attribute_is_not_held_equal_when_it_is_compared() -> None:
    rng = np.random.default_rng(0)
    groups = [*by_object("distance", list(rng.choice(["near", "far"], 800)))]
    found = np.arange(800) % 10 > 1
    rows = compare(groups, simulation.evidence(rng.integers(0, 40, 800), found, 0, 400), ["distance"], 0.1)
    assert [row.strata for row in rows] == [()]


def test_comparisons_are_plain_values() -> None:
    row = next(told([one(shares(400, 380), shares(400, 300))]))
    assert row["attribute"] == "who"
    assert isinstance(row["raw"], dict)
    assert set(row["raw"]) == {"gap", "low", "high", "p"}


@pytest.mark.parametrize(
    ("gap", "p", "verdict"),
    [
        pytest.param((0.02, -0.01, 0.05), 0.3, WITHIN, id="small"),
        pytest.param((0.05, 0.02, 0.08), 0.001, WITHIN, id="sure-and-small"),
        pytest.param((0.12, 0.05, 0.19), 0.001, SHOWN, id="shown"),
        pytest.param((0.12, 0.01, 0.23), 0.08, NOT_ASSESSABLE, id="not-after-correction"),
        pytest.param((-0.12, -0.19, -0.05), 0.001, SHOWN, id="the-other-way"),
    ],
)
def test_verdicts_at_a_limit_of_a_tenth(gap: tuple[float, float, float], p: float, verdict: str) -> None:
    assert decide(Gap(*gap, error=0.01, p=p), p, 0.1) == verdict


def test_holm_keeps_the_order_and_never_exceeds_one() -> None:
    """Holm 1979: smallest times 3, next times 2 (not below the one before), largest times 1."""
    assert holm([0.6, 0.01, 0.02]) == pytest.approx([0.6, 0.03, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_mantel_haenszel_on_a_worked_example() -> None:
    """Two strata: 90/100 against 40/50, 30/60 against 80/200.

    Weights 100 * 50 / 150 and 60 * 200 / 260; differences 0.1 and 0.1: the difference is 0.1 whatever the weights.
    Raw it would be 120/160 - 120/250 = 0.27.
    """
    counts = [np.array([[90.0], [30]]), np.array([[100.0], [60]]), np.array([[40.0], [80]]), np.array([[50.0], [200]])]
    assert mantel_haenszel(*counts).tolist() == pytest.approx([0.1])


def test_a_stratum_with_one_group_has_no_weight() -> None:
    counts = [np.array([[9.0], [5]]), np.array([[10.0], [5]]), np.array([[7.0], [0]]), np.array([[10.0], [0]])]
    assert mantel_haenszel(*counts).tolist() == pytest.approx([0.2])
    assert np.isnan(mantel_haenszel(*(part[1:] for part in counts))).all()


@pytest.mark.parametrize(
    ("recall", "gap", "effect", "objects"),
    [
        # (1.95996 + 0.84162)^2 = 7.8489; times (0.09 + 0.16) / 0.01
        pytest.param(0.9, 0.1, 1.0, 197, id="ten-points"),
        pytest.param(0.9, 0.1, 2.0, 393, id="design-effect"),
        # the same, 0.4975 over 0.0025
        pytest.param(0.5, 0.05, 1.0, 1562, id="five-points"),
        pytest.param(0.05, 0.1, 1.0, 138, id="upwards-where-there-is-no-room-below"),
    ],
)
def test_objects_that_a_verdict_needs(recall: float, gap: float, effect: float, objects: int) -> None:
    assert support(recall, gap, 0.05, effect) == objects


PERSON = re.compile(r'<pedestrian age="(\w+)".*? gender="([\w/]+)".*? id="(\w+)"')
BOX = re.compile(r'<box frame="(\d*[05])" .*?</box>', re.DOTALL)  # every fifth frame


def documents() -> tuple[dict[int, str], dict[int, str]]:
    """Boxes and people of JAAD by clip, as text: parsing all of it as XML takes two minutes."""
    boxes: dict[int, str] = {}
    people: dict[int, str] = {}
    with tarfile.open(JAAD) as archive:
        for member in archive:
            found = re.search(r"video_(\d+)(_attributes)?\.xml$", member.name)
            file = archive.extractfile(member)
            if found and file:
                (people if found[2] else boxes)[int(found[1])] = file.read().decode()
    return boxes, people


def pedestrians() -> Iterator[tuple[str, str, str, int, str]]:
    """JAAD: age, gender, occlusion, clip and distance of every pedestrian in every fifth frame."""
    boxes, people = documents()
    for clip, text in sorted(boxes.items()):
        known = {name: (age, gender) for age, gender, name in PERSON.findall(people[clip])}
        for box in BOX.finditer(text):
            tagged = dict(re.findall(r'<attribute name="(\w+)">([\w-]*)<', box[0]))
            if tagged.get("id") in known:
                age, gender = known[tagged["id"]]
                sides = dict(re.findall(r'(ybr|ytl)="([\d.]+)"', box[0]))
                tall = float(sides["ybr"]) - float(sides["ytl"]) >= 150  # pixels
                yield age, gender, tagged["occlusion"], clip, "near" if tall else "far"


@pytest.mark.skipif(not JAAD.exists(), reason="JAAD's annotations are not there: ../shared/data/jaad")
def test_real_annotations_of_age_gender_and_occlusion() -> None:
    """Real people, a simulated detector: it loses what is far or occluded, and seniors whatever the distance.

    Their gap must show at equal distance and occlusion; of gender, which the detector does not know, none may.
    """
    age, gender, occlusion, clip, distance = (list(column) for column in zip(*pedestrians(), strict=True))
    assert set(age) == {"adult", "senior", "young", "child"}
    assert set(gender) == {"female", "male", "n/a"}
    lost = 0.05 + 0.25 * (np.array(distance) == "far") + 0.2 * (np.array(occlusion) == "full")
    lost += 0.15 * (np.array(age) == "senior")
    found = np.random.default_rng(0).random(len(age)) > lost
    groups = [
        *by_object("object age", age),
        *by_object("object gender", [None if it == "n/a" else it for it in gender]),
        *by_object("distance", distance),
        *by_object("object occlusion", occlusion),
    ]
    rows = compare(groups, simulation.evidence(np.array(clip) - 1, found, 0), ["distance", "object occlusion"], 0.1)
    by = {(it.attribute, it.value): it for it in rows}
    senior = by["object age", "senior"]
    assert (senior.verdict, senior.strata) == (SHOWN, ("distance", "object occlusion"))
    assert [it.verdict for key, it in by.items() if key[0] == "object gender"] == [WITHIN]
    assert by["distance", "far"].strata == ("object occlusion",)
