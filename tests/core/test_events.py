"""Alarms against event truth: the rule by cases, the matching against other solvers, figures against tables."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.stats import binomtest

from pipeline.core.errors import DataError
from pipeline.core.events import (
    Alarm,
    Assessment,
    Delays,
    Evidence,
    Scored,
    TruthEvent,
    assess_false_alarms,
    assess_recall,
    by_group,
    figures,
    operating_curve,
    score,
)

HOURS = {"hall": 2.0, "lot": 1.0}
TOLERANCE = 1.0


def event(start: float = 10, end: float = 20, camera: str = "hall", label: str = "person", **over: str) -> TruthEvent:
    return TruthEvent(camera, label, start, end, **over)


def alarm(raised: float = 11, camera: str = "hall", label: str = "person", zone: str = "", worth: float = 0.9) -> Alarm:
    return Alarm(camera, label, raised - 0.5, raised + 5, zone, raised, worth)


def judged(events: list[TruthEvent], alarms: list[Alarm], ignored: list[TruthEvent] | None = None) -> Scored:
    return score(events, alarms, HOURS, TOLERANCE, ignored or [])


@pytest.mark.parametrize(
    ("raised", "mark"),
    [
        pytest.param(8.9, "false", id="too-early"),
        pytest.param(9.0, "true", id="within-the-tolerance-before"),
        pytest.param(15.0, "true", id="during"),
        pytest.param(21.0, "true", id="within-the-tolerance-after"),
        pytest.param(21.1, "false", id="too-late"),
    ],
)
def test_an_alarm_is_judged_by_when_it_is_raised(raised: float, mark: str) -> None:
    it = judged([event()], [alarm(raised)])
    assert it.marks == (mark,)
    assert it.found_by == ((0,) if mark == "true" else (-1,))


@pytest.mark.parametrize(
    ("truth", "raised", "fits"),
    [
        pytest.param(event(), alarm(camera="lot"), False, id="another-camera"),
        pytest.param(event(), alarm(label="vehicle"), False, id="another-class"),
        pytest.param(event(), alarm(label=""), True, id="motion-alone"),
        pytest.param(event(zone="door"), alarm(zone="door"), True, id="the-same-zone"),
        pytest.param(event(zone="door"), alarm(zone="gate"), False, id="another-zone"),
        pytest.param(event(zone="door"), alarm(), True, id="an-alarm-without-a-zone"),
        pytest.param(event(), alarm(zone="door"), True, id="an-event-without-a-zone"),
    ],
)
def test_camera_class_and_zone_must_agree(truth: TruthEvent, raised: Alarm, *, fits: bool) -> None:
    it = judged([truth], [raised])
    assert it.marks == (("true",) if fits else ("false",))


def test_further_alarms_of_an_event_are_duplicates() -> None:
    it = judged([event()], [alarm(15), alarm(11), alarm(19)])
    assert it.found_by == (1,)  # the first that is raised
    assert it.marks == ("duplicate", "true", "duplicate")
    found = figures(it)
    assert (found.true, found.duplicates, found.false, found.precision) == (1, 2, 0, 1.0)


def test_in_an_ignored_moment_no_alarm_is_false_but_an_event_is_found() -> None:
    anything = TruthEvent("hall", "", 0, 40)
    it = judged([event()], [alarm(11), alarm(30), alarm(30, label="vehicle"), alarm(50)], [anything])
    assert it.marks == ("true", "ignored", "ignored", "false")
    it = judged([event()], [alarm(30), alarm(30, label="vehicle")], [replace(anything, label="person")])
    assert it.marks == ("ignored", "false")


def test_as_many_events_as_can_be_are_found() -> None:
    """The first alarm fits both events, the second only the first one: a greedy choice would lose one."""
    events = [event(10, 20), event(19, 30)]
    it = judged(events, [alarm(19), alarm(12)])
    assert it.found_by == (1, 0)
    it = judged(events, [alarm(19), alarm(20.5)])
    assert it.found_by == (0, 1)


def random_case(rng: np.random.Generator) -> tuple[list[TruthEvent], list[Alarm]]:
    events = [
        event(start := rng.uniform(0, 60), start + rng.uniform(0, 15), zone=str(rng.choice(["", "a", "b"])))
        for _ in range(rng.integers(0, 6))
    ]
    alarms = [
        alarm(rng.uniform(-5, 80), label=str(rng.choice(["person", "", "vehicle"])), zone=str(rng.choice(["", "a"])))
        for _ in range(rng.integers(0, 6))
    ]
    return events, alarms


def fits(truth: TruthEvent, it: Alarm) -> bool:
    at = truth.start_s - TOLERANCE <= it.raised_s <= truth.end_s + TOLERANCE
    return at and it.label in {"", truth.label} and ("" in {it.zone, truth.zone} or it.zone == truth.zone)


def test_the_matching_is_the_largest_and_of_those_the_quickest() -> None:
    """Against scipy's Hopcroft-Karp for the number of pairs, and against trying all for the delays."""
    rng = np.random.default_rng(3)
    sizes = set()
    for _ in range(150):
        events, alarms = random_case(rng)
        it = score(events, alarms, HOURS, TOLERANCE)
        pairs = [(i, j) for i, j in enumerate(it.found_by) if j >= 0]
        assert all(fits(events[i], alarms[j]) for i, j in pairs)
        assert len({j for _, j in pairs}) == len(pairs)
        able = np.array([[fits(e, a) for a in alarms] for e in events], np.int8).reshape(len(events), len(alarms))
        most = int((maximum_bipartite_matching(csr_array(able)) >= 0).sum()) if able.size else 0
        assert len(pairs) == most
        sizes.add(most)
        places = [*range(len(alarms)), *[-1] * len(events)]
        least = (
            min(
                sum(alarms[j].raised_s - e.start_s for e, j in zip(events, choice, strict=False) if j >= 0)
                for choice in set(permutations(places, len(events)))
                if all(j < 0 or able[i, j] for i, j in enumerate(choice)) and sum(j >= 0 for j in choice) == most
            )
            if len(events) <= 3
            else None
        )
        if least is not None:
            assert sum(alarms[j].raised_s - events[i].start_s for i, j in pairs) == pytest.approx(least)
    assert sizes >= {0, 1, 2, 3}


def test_figures() -> None:
    events = [event(10 * i, 10 * i + 5) for i in range(10)]
    alarms = [alarm(10 * i + delay) for i, delay in enumerate([0, 1, 2, 3, 4, 5, -0.5, 5.5])]
    found = figures(judged(events, [*alarms, alarm(300), alarm(400, camera="lot")]))
    assert (found.events, found.found, found.missed, found.true, found.false) == (10, 8, 2, 8, 2)
    assert (found.recall, found.missed_share, found.precision) == (0.8, 0.2, 0.8)
    exact = binomtest(8, 10).proportion_ci(0.95, "exact")
    assert found.recall_interval == pytest.approx((exact.low, exact.high))
    assert found.precision_interval == pytest.approx((exact.low, exact.high))
    assert found.missed_interval == pytest.approx((1 - exact.high, 1 - exact.low))
    assert found.hours == 3.0
    assert found.false_per_hour == pytest.approx(2 / 3)
    assert found.false_interval == pytest.approx((0.2422 / 3, 7.2247 / 3), abs=1e-4)  # Garwood's for 2
    assert found.delay_s == Delays(median=2.5, p90=5.5, max=5.5)


def test_an_alarm_within_the_tolerance_before_its_event_has_no_delay() -> None:
    assert figures(judged([event()], [alarm(9.5)])).delay_s == Delays(0.0, 0.0, 0.0)


def test_where_nothing_is_there_nothing_is_said() -> None:
    found = figures(judged([], []))
    assert (found.recall, found.missed_share, found.precision, found.delay_s) == (None, None, None, None)
    assert (found.false, found.false_per_hour) == (0, 0.0)
    assert found.false_interval == pytest.approx((0, 3.6889 / 3), abs=1e-4)


def test_what_was_not_watched_cannot_be_judged() -> None:
    with pytest.raises(DataError, match="cameras that were not watched: roof, yard; give their hours"):
        score([event(camera="yard")], [alarm(camera="roof")], HOURS, TOLERANCE)


def test_groups() -> None:
    events = [event(zone="door", condition="night"), event(50, 60), event(camera="lot", label="vehicle")]
    alarms = [alarm(zone="door"), alarm(90, zone="door"), alarm(90, camera="lot", label="")]
    groups = by_group(judged(events, alarms))
    told = {
        (kind, name): (it.events, it.found, it.alarms, it.false, it.hours)
        for kind, group in groups.items()
        for name, it in group.items()
    }
    assert told == {
        ("camera", "hall"): (2, 1, 2, 1, 2.0),
        ("camera", "lot"): (1, 0, 1, 1, 1.0),
        ("class", ""): (0, 0, 1, 1, 3.0),
        ("class", "person"): (2, 1, 2, 1, 3.0),
        ("class", "vehicle"): (1, 0, 0, 0, 3.0),
        ("zone", ""): (2, 0, 1, 1, 3.0),
        ("zone", "door"): (1, 1, 2, 1, 2.0),
        ("condition", ""): (2, 0, 0, 0, None),
        ("condition", "night"): (1, 1, 0, 0, None),
    }
    assert groups["condition"]["night"].false_per_hour is None


def test_the_operating_curve_trades_missed_events_for_false_alarms() -> None:
    events = [event(100 * i, 100 * i + 10) for i in range(4)]
    alarms = [alarm(100 * i + 1, worth=0.2 + 0.2 * i) for i in range(4)]
    alarms += [alarm(100 * i + 50, worth=0.1 + 0.3 * i) for i in range(3)]
    at = {t: [it for it in alarms if it.score >= t] for t in (0.9, 0.0, 0.5)}
    points = operating_curve(events, at, HOURS, TOLERANCE)
    assert [(p.threshold, p.missed_share, p.false_per_hour) for p in points] == [
        (0.0, 0.0, 1.0),
        (0.5, 0.5, pytest.approx(1 / 3)),
        (0.9, 1.0, 0.0),
    ]
    exact = binomtest(2, 4).proportion_ci(0.95, "exact")
    assert points[1].missed_interval == pytest.approx((exact.low, exact.high))
    assert points[2].false_interval == pytest.approx((0, 3.6889 / 3), abs=1e-4)


@pytest.mark.parametrize(
    ("count", "hours", "most", "result", "needed"),
    [
        pytest.param(0, 3.69, 1.0, "holds", 0, id="none-in-just-enough-hours"),
        pytest.param(0, 3.68, 1.0, "insufficient evidence", 0.0089, id="none-in-just-too-few"),
        pytest.param(0, 0.05, 0.1, "insufficient evidence", 36.839, id="none-in-three-minutes"),
        pytest.param(1, 0.5, 1.0, "insufficient evidence", 5.072, id="above-the-limit-but-in-too-few-hours"),
        pytest.param(9, 0.5, 1.0, "fails", 0, id="few-hours-but-proved"),
        pytest.param(10, 5.0, 1.0, "fails", 0, id="twice-the-limit"),
        pytest.param(4, 5.0, 1.0, "insufficient evidence", 5.242, id="below-the-limit-not-proved"),
        pytest.param(0, 0.0, 1.0, "insufficient evidence", 3.689, id="no-hours-at-all"),
    ],
)
def test_false_alarms_against_a_limit(count: int, hours: float, most: float, result: str, needed: float) -> None:
    """Upper ends of Garwood's table: 3.689 for 0, 5.572 for 1, 10.242 for 4."""
    it = assess_false_alarms(count, hours, most)
    assert it.result == result
    assert it.needed == pytest.approx(needed, abs=1e-3)
    assert bool(it.reason) == (result != "holds")


def test_reasons_say_what_was_shown_and_what_is_needed() -> None:
    assert assess_false_alarms(0, 0.5, 1.0).reason == (
        "0 false alarms in 0.5 h only show a rate below 7.38 an hour, not 1; at least 3.19 h more are needed"
    )
    assert assess_false_alarms(10, 5.0, 1.0) == Assessment(Evidence.FAILS, "10 false alarms in 5 h are 2 an hour")
    assert assess_recall(8, 8, 0.9).reason == (
        "8 of 8 events found only show a share above 0.631, not 0.9; at least 28 events more are needed"
    )


@pytest.mark.parametrize(
    ("found", "events", "least", "result", "needed"),
    [
        pytest.param(36, 36, 0.9, "holds", 0, id="all-of-just-enough"),  # 0.025 ** (1 / 36) = 0.9026
        pytest.param(35, 35, 0.9, "insufficient evidence", 1, id="all-of-just-too-few"),  # 0.8999
        pytest.param(0, 0, 0.9, "insufficient evidence", 36, id="none-at-all"),
        pytest.param(3, 4, 0.9, "insufficient evidence", 50, id="below-but-of-too-few"),
        pytest.param(1, 8, 0.9, "fails", 0, id="few-but-proved"),
        pytest.param(80, 100, 0.9, "fails", 0, id="below"),
        pytest.param(91, 100, 0.9, "insufficient evidence", None, id="above-not-proved"),
        pytest.param(98, 100, 0.9, "holds", 0, id="above"),
    ],
)
def test_recall_against_a_limit(found: int, events: int, least: float, result: str, needed: float | None) -> None:
    it = assess_recall(found, events, least)
    assert it.result == result
    if needed is not None:
        assert it.needed == needed


@pytest.mark.parametrize(
    ("found", "events", "least"), [(0, 0, 0.5), (10, 10, 0.99), (20, 21, 0.9), (9, 13, 0.5), (100, 104, 0.95)]
)
def test_with_the_events_needed_it_holds_and_with_one_fewer_it_does_not(found: int, events: int, least: float) -> None:
    """By scipy's own exact interval, the further events all found."""
    more = int(assess_recall(found, events, least).needed)
    assert binomtest(found + more, events + more).proportion_ci(0.95, "exact").low >= least
    assert binomtest(found + more - 1, events + more - 1).proportion_ci(0.95, "exact").low < least


def test_limits_that_nothing_can_show() -> None:
    with pytest.raises(DataError, match="0 false alarms an hour can never be shown to hold"):
        assess_false_alarms(0, 100, 0.0)
    with pytest.raises(DataError, match="recall of 1 can never be shown to hold"):
        assess_recall(5, 5, 1.0)


def test_many_events_take_no_time() -> None:
    events = [event(3.0 * i, 3.0 * i + 1) for i in range(3000)]
    alarms = [alarm(3.0 * i + 0.5) for i in range(3000)]
    assert figures(score(events, alarms, HOURS, 0.5)).found == 3000
