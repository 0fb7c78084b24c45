"""Anonymity: numbers that lead from no day to the next and from no camera to another; times in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pipeline.core.errors import ConfigError
from pipeline.runtime.metadata.scene import REMEMBERED, Clock, Scene, SceneFrame, iso
from tests.scenes import CLASSES, START, Seen, event, track


def scene(start: datetime = START, interval_s: float = 86_400.0) -> Scene:
    return Scene(CLASSES, Clock(start), interval_s)


def numbers(frame: SceneFrame | None) -> list[int]:
    assert frame is not None
    return [it.number for it in frame.objects]


def test_an_object_keeps_its_number_while_it_is_followed() -> None:
    it = scene()
    first = it.frame(Seen(tracks=[track(311), track(305)]))
    second = it.frame(Seen(timestamp_s=1, tracks=[track(305), track(311), track(400)]))
    assert numbers(first) == [1, 2]
    assert numbers(second) == [2, 1, 3]


def test_numbers_begin_anew_at_midnight_for_those_too_who_are_still_there() -> None:
    it = scene(datetime(2026, 11, 28, 23, 59, 59, tzinfo=UTC))
    before = it.frame(Seen(tracks=[track(1), track(2), track(3)]))
    after = it.frame(Seen(timestamp_s=1.0, tracks=[track(3)]))
    assert before is not None
    assert after is not None
    assert (numbers(before)[2], numbers(after)[0]) == (3, 1)
    assert (before.since, after.since) == (datetime(2026, 11, 28, tzinfo=UTC), datetime(2026, 11, 29, tzinfo=UTC))


@pytest.mark.parametrize(
    ("interval_s", "number"),
    [
        pytest.param(3600.0, 1, id="an hour"),
        pytest.param(86_400.0, 2, id="a day"),
        pytest.param(0.0, 2, id="the run"),
    ],
)
def test_the_interval_can_be_chosen(interval_s: float, number: int) -> None:
    it = scene(datetime(2026, 11, 28, 8, 59, 59, tzinfo=UTC), interval_s)
    it.frame(Seen(tracks=[track(1), track(2)]))
    assert numbers(it.frame(Seen(timestamp_s=2.0, tracks=[track(2)]))) == [number]


def test_each_camera_counts_for_itself_so_that_no_number_links_two() -> None:
    it = scene()
    lobby = it.frame(Seen(tracks=[track(5), track(6)]))
    hall = it.frame(Seen(camera="hall", tracks=[track(6), track(5)]))
    assert (numbers(lobby), numbers(hall)) == ([1, 2], [1, 2])


def test_events_bear_the_numbers_of_frames() -> None:
    it = scene()
    it.frame(Seen(tracks=[track(90), track(80)]))
    (told,) = it.events(Seen(timestamp_s=1.5, events=[event(track_ids=(80, 70))]))
    assert told.numbers == (2, 3)
    assert (told.time, told.start, told.confirmed, told.end) == (
        START + timedelta(seconds=1.5),
        START + timedelta(seconds=1.0),
        START + timedelta(seconds=1.5),
        None,
    )


def test_memory_of_tracks_is_bounded() -> None:
    it = scene()
    for track_id in range(REMEMBERED + 1):
        it.frame(Seen(tracks=[track(track_id)]))
    assert numbers(it.frame(Seen(tracks=[track(REMEMBERED), track(0)]))) == [REMEMBERED + 1, REMEMBERED + 2]


def test_only_what_was_seen_in_this_frame_and_is_sure_is_told() -> None:
    tracks = [track(1, confirmed=False), track(2, visible=False), track(3)]
    assert numbers(scene().frame(Seen(tracks=tracks))) == [1]
    assert scene().frame(Seen(tracks=[track(3)], detected=False)) is None


def test_an_empty_frame_is_told_once() -> None:
    it = scene()
    shown = [it.frame(Seen(timestamp_s=i, tracks=[track()] * (i == 2))) for i in range(5)]
    assert [frame is not None for frame in shown] == [True, False, True, True, False]


@pytest.mark.parametrize(
    ("box", "shares"),
    [
        pytest.param((20, 10, 60, 90), (0.1, 0.1, 0.3, 0.9), id="inside"),
        pytest.param((-5, -5, 250, 120), (0, 0, 1, 1), id="clipped to the picture"),
    ],
)
def test_boxes_are_shares_of_the_picture(box: tuple[float, ...], shares: tuple[float, ...]) -> None:
    frame = scene().frame(Seen(tracks=[track(box=box)]))
    assert frame is not None
    assert frame.objects[0].box == pytest.approx(shares)
    assert frame.objects[0].label == "person"


def test_a_live_camera_is_now_at_its_first_observation() -> None:
    times = iter([START, START + timedelta(seconds=3)])
    clock = Clock(now=lambda: next(times))
    assert clock.utc("a", 100.0) == START
    assert clock.utc("b", 0.0) == START + timedelta(seconds=3)
    assert clock.utc("a", 101.0) == START + timedelta(seconds=1)


def test_a_start_is_taken_in_its_time_zone_and_must_have_one() -> None:
    berlin = datetime(2026, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert iso(Clock(berlin).utc("a", 0.25)) == "2026-06-01T10:00:00.250Z"
    with pytest.raises(ConfigError, match="time zone"):
        Clock(datetime(2026, 6, 1, 12))  # noqa: DTZ001 - that is the mistake


@pytest.mark.parametrize("interval_s", [-1.0, float("nan"), float("inf")])
def test_an_interval_that_is_none_is_refused(interval_s: float) -> None:
    with pytest.raises(ConfigError, match="interval"):
        Scene(CLASSES, interval_s=interval_s)
