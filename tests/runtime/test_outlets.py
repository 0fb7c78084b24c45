import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from pipeline.core.errors import DataError
from pipeline.runtime.alarms import Event
from pipeline.runtime.outlets import DEPTH, PICTURES, Outlet
from pipeline.runtime.watching import Observation
from tests.watching import LIMIT_S, SIZE, Collected, frame

EVENT = Event("door", "presence", "person", "", 0.0, None, 0.5, (1,), 0.9, alarm=True)
PLAIN = Observation("door", 0.0, SIZE, [], [], detected=False, moving=False, seconds={})


def at(seconds: float, *events: Event) -> Observation:
    return replace(PLAIN, timestamp_s=seconds, events=list(events))


class Slow(Collected):
    """Takes nothing before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = threading.Event(), threading.Event()

    def emit(self, it: Observation) -> None:
        self.entered.set()
        self.go.wait(LIMIT_S)
        super().emit(it)


class Failing(Collected):
    """Refuses the observations whose seconds are odd."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def emit(self, it: Observation) -> None:
        if it.timestamp_s % 2:
            raise self._error
        super().emit(it)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.001)


@contextmanager
def held(*, pictures: bool = False) -> Iterator[tuple[Slow, Outlet]]:
    """An outlet whose sink is at work on the observation of second -1."""
    sink = Slow()
    outlet = Outlet("slow", sink, pictures=pictures)
    outlet.offer(at(-1))
    assert sink.entered.wait(LIMIT_S)
    yield sink, outlet
    sink.go.set()
    outlet.close(LIMIT_S)


def test_all_are_taken_in_their_order() -> None:
    sink = Collected()
    outlet = Outlet("file", sink)
    for i in range(20):
        outlet.offer(at(i))
    outlet.close(LIMIT_S)
    assert [it.timestamp_s for it in sink.taken] == list(range(20))
    assert sink.closed
    status = outlet.status()
    assert (status.taken, status.lost, status.failed, status.problem) == (20, 0, 0, "")


def test_a_slow_sink_does_not_block_and_what_it_could_not_take_is_counted() -> None:
    with held() as (sink, outlet):
        began = time.monotonic()
        for i in range(3 * DEPTH):
            outlet.offer(at(i))
        assert time.monotonic() - began < 1
        assert outlet.status().lost == 2 * DEPTH
    assert [it.timestamp_s for it in sink.taken] == [-1, *range(2 * DEPTH, 3 * DEPTH)]
    assert outlet.status().taken == DEPTH + 1


def test_events_are_the_last_to_give_way() -> None:
    with held() as (sink, outlet):
        for i in range(2 * DEPTH):
            outlet.offer(at(i, *([EVENT] if i < 3 else [])))
    assert [it.timestamp_s for it in sink.taken[1:5]] == [0, 1, 2, DEPTH + 3]


def test_where_all_have_events_the_oldest_gives_way() -> None:
    with held() as (sink, outlet):
        for i in range(DEPTH + 1):
            outlet.offer(at(i, EVENT))
    assert [it.timestamp_s for it in sink.taken] == [-1, *range(1, DEPTH + 1)]


@pytest.mark.parametrize("error", [DataError("no room"), OSError("no room")], ids=["ours", "the system's"])
def test_a_sink_that_fails_goes_on(error: Exception) -> None:
    sink = Failing(error)
    outlet = Outlet("disk", sink)
    for i in range(4):
        outlet.offer(at(i))
    outlet.close(LIMIT_S)
    assert [it.timestamp_s for it in sink.taken] == [0, 2]
    status = outlet.status()
    assert (status.taken, status.failed, status.problem) == (2, 2, "no room")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_of_a_sink_ends_the_sink_alone() -> None:
    outlet = Outlet("ours", Failing(ZeroDivisionError()))
    outlet.offer(at(1))
    until(lambda: bool(outlet.status().problem))
    outlet.offer(at(2))
    assert outlet.status().problem == "ended by a defect of its own"
    assert outlet.status().lost == 1


def test_a_sink_that_hangs_is_left_behind() -> None:
    with held() as (_, outlet):
        outlet.offer(at(0))
        began = time.monotonic()
        outlet.close(0.05)
        assert time.monotonic() - began < 1
        assert outlet.status().problem == "did not end in time"
        assert outlet.status().lost == 1


@pytest.mark.parametrize("pictures", [False, True])
def test_pictures_are_for_those_who_ask(*, pictures: bool) -> None:
    sink = Collected()
    outlet = Outlet("sink", sink, pictures=pictures)
    outlet.offer(replace(PLAIN, frame=frame(0, 0.0)))
    outlet.close(LIMIT_S)
    assert (sink.taken[0].frame is not None) == pictures


def test_fewer_pictures_wait() -> None:
    with held(pictures=True) as (_, outlet):
        for i in range(PICTURES + 5):
            outlet.offer(at(i))
        assert outlet.status().lost == 5
