"""The field test in events: which alarms were true, which events were missed, and how sure the figures are.

The rule is the field's. As in i-LIDS (UK Home Office CAST, The i-LIDS User Guide, publication 10/11, 2011), an alarm is
judged by when it is raised: it *fits* an event of its camera, class and zone if it is raised between the event's
begin and end, give or take a tolerance. As in TRECVID ActEV (NIST, ActEV 2021 SDL Evaluation Plan), alarms and events
are then paired one to one by the Hungarian method: as many pairs as can be, and of those the ones with the least delay.

- An event with an alarm is *found*, one without is *missed*.
- An alarm with an event is *true*. One that fits only events that others have found is a *duplicate*: neither true nor
  false. So is one raised in an *ignored* moment that fits no event. Any other alarm is *false*.
- What has no zone, or no class (motion alone), fits any zone or class.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.core.errors import DataError
from pipeline.core.statistics import clopper_pearson, poisson_rate

Interval = tuple[float, float]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TruthEvent:
    """What truly happened. Times are seconds of the camera's clock."""

    camera: str
    label: str  # the class's name; "" for any, of an ignored moment
    start_s: float
    end_s: float
    zone: str = ""  # "": anywhere
    condition: str = ""  # under which: night, rain ...


@dataclass(frozen=True, slots=True)
class Alarm:
    """What the operator was told."""

    camera: str
    label: str  # "" for motion alone
    start_s: float  # first sighting
    end_s: float
    zone: str
    raised_s: float  # when the operator was told
    score: float


class Mark(StrEnum):
    """What became of an alarm."""

    TRUE = "true"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    FALSE = "false"


@dataclass(frozen=True, slots=True)
class Scored:
    """Events and alarms, judged."""

    events: tuple[TruthEvent, ...]
    alarms: tuple[Alarm, ...]
    found_by: tuple[int, ...]  # for each event the alarm that found it, -1 for none
    marks: tuple[Mark, ...]  # for each alarm
    hours: Mapping[str, float]  # watched, by camera


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds from an event's begin to its alarm; an alarm within the tolerance before the begin has 0."""

    median: float
    p90: float  # nine in ten events are found within this time
    max: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What a field test gives; None where there is nothing to judge by. Intervals are exact, at 95 %."""

    events: int
    found: int
    missed: int
    recall: float | None
    recall_interval: Interval | None
    missed_share: float | None
    missed_interval: Interval | None
    alarms: int
    true: int
    duplicates: int
    ignored: int
    false: int
    precision: float | None  # true alarms among those that are true or false
    precision_interval: Interval | None
    hours: float | None  # camera-hours
    false_per_hour: float | None
    false_interval: Interval | None
    delay_s: Delays | None


def score(
    events: Sequence[TruthEvent],
    alarms: Sequence[Alarm],
    hours: Mapping[str, float],
    tolerance_s: float,
    ignored: Sequence[TruthEvent] = (),
) -> Scored:
    """Judges alarms against truth by the rule above.

    Args:
        events: what an alarm is asked for.
        alarms: those raised in the time that was watched.
        hours: how long each camera was watched.
        tolerance_s: how far outside an event its alarm may be raised.
        ignored: moments of which nothing is asked.

    Raises:
        DataError: an event or alarm is of a camera that was not watched.
    """
    cameras = {event.camera for event in events} | {alarm.camera for alarm in alarms}
    strange = sorted(cameras - {name for name, time in hours.items() if time > 0})
    if strange:
        raise DataError(f"events or alarms of cameras that were not watched: {', '.join(strange)}; give their hours")
    rows, columns = _fits(events, alarms, tolerance_s)
    found_by = _paired(events, alarms, rows, columns)
    judged = dict.fromkeys(_fits(ignored, alarms, tolerance_s)[1].tolist(), Mark.IGNORED)
    judged |= dict.fromkeys(columns.tolist(), Mark.DUPLICATE)
    judged |= dict.fromkeys((alarm for alarm in found_by if alarm >= 0), Mark.TRUE)
    marks = tuple(judged.get(i, Mark.FALSE) for i in range(len(alarms)))
    return Scored(tuple(events), tuple(alarms), tuple(found_by), marks, dict(hours))


def _fits(events: Sequence[TruthEvent], alarms: Sequence[Alarm], tolerance_s: float) -> tuple[Indices, Indices]:
    """Positions of the events and alarms that fit each other, a pair a place."""
    mine = defaultdict(list)
    for i, event in enumerate(events):
        mine[event.camera].append(i)
    of = {camera: np.array(places) for camera, places in mine.items()}
    starts = np.array([event.start_s for event in events]) - tolerance_s
    ends = np.array([event.end_s for event in events]) + tolerance_s
    pairs = [
        (int(i), j)
        for j, alarm in enumerate(alarms)
        if (places := of.get(alarm.camera)) is not None
        for i in places[(starts[places] <= alarm.raised_s) & (alarm.raised_s <= ends[places])]
        if _agree(events[i].label, alarm.label) and _agree(events[i].zone, alarm.zone)
    ]
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    return rows, columns


def _agree(a: str, b: str) -> bool:
    return not a or not b or a == b


def _paired(events: Sequence[TruthEvent], alarms: Sequence[Alarm], rows: Indices, columns: Indices) -> list[int]:
    """For each event the alarm that found it, -1 for none: the most pairs, and of those the least delay."""
    found = [-1] * len(events)
    begun, raised = np.array([event.start_s for event in events]), np.array([alarm.raised_s for alarm in alarms])
    for pairs in _parts(rows, columns + len(events), len(events) + len(alarms)):
        ours, i = np.unique(rows[pairs], return_inverse=True)
        theirs, j = np.unique(columns[pairs], return_inverse=True)
        delay = raised[columns[pairs]] - begun[rows[pairs]]
        worth = np.zeros((len(ours), len(theirs)))
        worth[i, j] = len(pairs) + (delay.max() - delay) / (np.ptp(delay) + 1)  # a pair more beats any delay
        r, c = linear_sum_assignment(worth, maximize=True)
        good = worth[r, c] > 0
        for event, alarm in zip(ours[r[good]].tolist(), theirs[c[good]].tolist(), strict=True):
            found[event] = alarm
    return found


def _parts(rows: Indices, columns: Indices, size: int) -> list[Indices]:
    """Pairs in parts that share neither an event nor an alarm, so that each is small."""
    links = coo_array((np.ones(len(rows)), (rows, columns)), shape=(size, size))
    _, part = connected_components(links, directed=False)
    order = np.argsort(part[rows], kind="stable")
    cuts = np.flatnonzero(np.diff(part[rows][order])) + 1
    return np.split(order, cuts) if len(order) else []


def figures(it: Scored) -> Figures:
    """Over all cameras."""
    return _figures(it, range(len(it.events)), range(len(it.alarms)), sum(it.hours.values()))


def by_group(it: Scored) -> dict[str, dict[str, Figures]]:
    """Figures per camera, class, zone and condition, by these words and the group's name.

    A class's false alarms count against all hours, a zone's against those of the cameras that have it. Alarms have no
    condition: there, only events are judged. Motion alone is the class "".
    """
    cameras = {name: (name,) for name in it.hours}
    things: tuple[TruthEvent | Alarm, ...] = (*it.events, *it.alarms)
    labels = {thing.label: tuple(it.hours) for thing in things}
    zones: dict[str, dict[str, None]] = defaultdict(dict)
    for thing in things:
        zones[thing.zone][thing.camera] = None
    return {
        "camera": {name: _of(it, "camera", name, watched) for name, watched in sorted(cameras.items())},
        "class": {name: _of(it, "label", name, watched) for name, watched in sorted(labels.items())},
        "zone": {name: _of(it, "zone", name, watched) for name, watched in sorted(zones.items())},
        "condition": {name: _under(it, name) for name in sorted({event.condition for event in it.events})},
    }


def _of(it: Scored, key: str, name: str, cameras: Iterable[str]) -> Figures:
    events = [i for i, event in enumerate(it.events) if getattr(event, key) == name]
    alarms = [i for i, alarm in enumerate(it.alarms) if getattr(alarm, key) == name]
    return _figures(it, events, alarms, sum(it.hours[camera] for camera in cameras))


def _under(it: Scored, condition: str) -> Figures:
    return _figures(it, [i for i, event in enumerate(it.events) if event.condition == condition], (), None)


def _figures(it: Scored, events: Sequence[int], alarms: Sequence[int], hours: float | None) -> Figures:
    found = [(it.events[i], it.alarms[it.found_by[i]]) for i in events if it.found_by[i] >= 0]
    marks = [it.marks[i] for i in alarms]
    true, false, missed = marks.count(Mark.TRUE), marks.count(Mark.FALSE), len(events) - len(found)
    recall, recall_interval = _share(len(found), len(events))
    missed_share, missed_interval = _share(missed, len(events))
    precision, precision_interval = _share(true, true + false)
    return Figures(
        events=len(events),
        found=len(found),
        missed=missed,
        recall=recall,
        recall_interval=recall_interval,
        missed_share=missed_share,
        missed_interval=missed_interval,
        alarms=len(marks),
        true=true,
        duplicates=marks.count(Mark.DUPLICATE),
        ignored=marks.count(Mark.IGNORED),
        false=false,
        precision=precision,
        precision_interval=precision_interval,
        hours=hours,
        false_per_hour=false / hours if hours else None,
        false_interval=poisson_rate(false, hours) if hours else None,
        delay_s=_delays([max(alarm.raised_s - event.start_s, 0.0) for event, alarm in found]),
    )


def _share(part: int, whole: int) -> tuple[float, Interval] | tuple[None, None]:
    return (part / whole, clopper_pearson(part, whole)) if whole else (None, None)


def _delays(seconds: Sequence[float]) -> Delays | None:
    if not seconds:
        return None
    return Delays(
        float(np.median(seconds)), float(np.quantile(seconds, 0.9, method="inverted_cdf")), float(max(seconds))
    )


@dataclass(frozen=True, slots=True)
class Point:
    """What an operating threshold gives."""

    threshold: float
    missed_share: float | None
    missed_interval: Interval | None
    false_per_hour: float | None
    false_interval: Interval | None


def operating_curve(
    events: Sequence[TruthEvent],
    alarms_at: Mapping[float, Sequence[Alarm]],
    hours: Mapping[str, float],
    tolerance_s: float,
    ignored: Sequence[TruthEvent] = (),
) -> list[Point]:
    """Missed share against false alarms per hour, by rising threshold; see `score`.

    Args:
        events: what an alarm is asked for.
        alarms_at: the alarms that each threshold would have raised.
        hours: how long each camera was watched.
        tolerance_s: how far outside an event its alarm may be raised.
        ignored: moments of which nothing is asked.
    """
    points = []
    for threshold in sorted(alarms_at):
        it = figures(score(events, alarms_at[threshold], hours, tolerance_s, ignored))
        points.append(Point(threshold, it.missed_share, it.missed_interval, it.false_per_hour, it.false_interval))
    return points


class Evidence(StrEnum):
    """What the evidence says of a limit."""

    HOLDS = "holds"
    FAILS = "fails"
    INSUFFICIENT = "insufficient evidence"


@dataclass(frozen=True, slots=True)
class Assessment:
    """A limit, judged."""

    result: Evidence
    reason: str  # of what does not hold; "" where it does
    needed: float = 0.0  # hours, or events, that are still needed at least; 0 where it was judged


def assess_false_alarms(count: int, hours: float, most: float) -> Assessment:
    """Whether false alarms stay within a limit an hour.

    It holds where the whole interval does, and fails where the figure does not, or its whole interval does not. But
    without a single false alarm T hours only show a rate below 3.7 / T (the interval's end; 3 / T one-sided): where
    the hours could not even then have met the limit, a figure above it proves nothing.

    Args:
        count: false alarms.
        hours: camera-hours watched.
        most: the limit an hour, above 0.

    Raises:
        DataError: the limit is not above 0, which no number of hours can show.
    """
    if not most > 0:
        raise DataError(f"a limit of {most:g} false alarms an hour can never be shown to hold; allow more than none")
    low, high = poisson_rate(count, hours) if hours > 0 else (0.0, float("inf"))
    enough = poisson_rate(0, 1.0)[1] / most
    if high <= most:
        return Assessment(Evidence.HOLDS, "")
    if low > most or (hours >= enough and count / hours > most):
        return Assessment(Evidence.FAILS, f"{count} false alarms in {hours:.3g} h are {count / hours:.3g} an hour")
    needed = poisson_rate(count, 1.0)[1] / most - hours
    told = f"{count} false alarms in {hours:.3g} h only show a rate below {high:.3g} an hour, not {most:g}"
    return Assessment(Evidence.INSUFFICIENT, f"{told}; at least {needed:.3g} h more are needed", needed)


def assess_recall(found: int, events: int, least: float) -> Assessment:
    """Whether enough events are found; as `assess_false_alarms`, with the events that even all found would need.

    Args:
        found: of the events.
        events: how many there were.
        least: the limit, a share below 1.

    Raises:
        DataError: the limit is 1, which no number of events can show.
    """
    if not least < 1:
        raise DataError(f"an event recall of {least:g} can never be shown to hold; ask for less than 1")
    low, high = clopper_pearson(found, events)
    if low >= least:
        return Assessment(Evidence.HOLDS, "")
    told = f"{found} of {events} events found"
    if high < least or (clopper_pearson(events, events)[0] >= least and found / events < least):
        return Assessment(Evidence.FAILS, f"{told}, a share of {found / events:.3g}")
    needed = _events_needed(events - found, least) - events
    told = f"{told} only show a share above {low:.3g}, not {least:g}"
    return Assessment(Evidence.INSUFFICIENT, f"{told}; at least {needed} events more are needed", needed)


def _events_needed(missed: int, least: float) -> int:
    """The fewest events of which so many may be missed."""
    low, high = missed, missed + 1
    while clopper_pearson(high - missed, high)[0] < least:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if clopper_pearson(middle - missed, middle)[0] >= least else (middle, high)
    return high
