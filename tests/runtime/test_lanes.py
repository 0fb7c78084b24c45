import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from pipeline.core.errors import DataError
from pipeline.runtime.frames import Gap, LazyFrame, OnGap, Source
from pipeline.runtime.lanes import DEPTH, Arrival, Lane, first_of
from tests.watching import LIMIT_S, Listed, frame

FRAMES = [frame(i, i / 10) for i in range(DEPTH + 3)]
OUTAGE = Gap(0.0, 2.0, "unplugged")


def given(source: Source, _: OnGap) -> Source:
    return source


@contextmanager
def reading(*sources: Source) -> Iterator[tuple[list[Lane], threading.Condition]]:
    changed = threading.Condition()
    lanes = [Lane(f"camera {i}", partial(given, source), changed) for i, source in enumerate(sources)]
    for lane in lanes:
        lane.start()
    yield lanes, changed
    for lane in lanes:
        lane.stop()
        lane.join(LIMIT_S)


def rest(lane: Lane, changed: threading.Condition) -> list[Arrival]:
    """All that comes until the lane is over."""
    found = []
    with changed:
        while changed.wait_for(lambda: lane.over or lane._waiting, LIMIT_S) and (it := lane.take()):
            found.append(it)
    assert lane.over
    return found


def test_a_file_waits_until_its_frames_are_taken() -> None:
    with reading(Listed(FRAMES)) as ((lane,), changed):
        found = rest(lane, changed)
    assert [it.frame.index for it in found] == list(range(len(FRAMES)))
    assert (lane.dropped, lane.problem) == (0, "")


def test_a_live_source_drops_its_oldest_frames_and_counts_them() -> None:
    with reading(Listed(FRAMES, live=True)) as ((lane,), changed):
        with changed:
            assert changed.wait_for(lambda: lane.ended, LIMIT_S)
        found = rest(lane, changed)
    assert [it.frame.index for it in found] == list(range(3, len(FRAMES)))
    assert lane.dropped == 3


def test_a_gap_is_told_with_the_next_frame_even_if_that_is_dropped() -> None:
    def opened(on_gap: OnGap) -> Source:
        def wait(it: LazyFrame) -> None:
            if it.index == 1:
                on_gap(Gap(0.0, None, "unplugged"))
                assert lane.gap is not None
                on_gap(OUTAGE)

        return Listed(FRAMES, live=True, wait=wait)

    changed = threading.Condition()
    lane = Lane("gate", opened, changed)
    lane.start()
    with changed:
        assert changed.wait_for(lambda: lane.ended, LIMIT_S)
    found = rest(lane, changed)
    assert [it.gaps for it in found[:2]] == [(OUTAGE,), ()]
    assert lane.gap is None


@pytest.mark.parametrize("error", [DataError("breaks off"), OSError("breaks off")], ids=["ours", "the system's"])
def test_what_breaks_a_source_is_told_after_its_frames(error: Exception) -> None:
    with reading(Listed(FRAMES[:2], error=error)) as ((lane,), changed):
        found = rest(lane, changed)
    assert len(found) == 2
    assert lane.problem == "breaks off"


def test_a_source_that_cannot_be_opened_is_told() -> None:
    def refuse(_: OnGap) -> Source:
        raise DataError("no such file")

    changed = threading.Condition()
    lane = Lane("gate", refuse, changed)
    lane.start()
    assert rest(lane, changed) == []
    assert lane.problem == "no such file"


def test_a_reader_that_waits_for_room_can_be_stopped() -> None:
    source = Listed(FRAMES)
    with reading(source) as ((lane,), changed):
        with changed:
            assert changed.wait_for(lambda: len(lane._waiting) == DEPTH, LIMIT_S)
        lane.stop()
        lane.join(LIMIT_S)
        assert lane.over
        assert lane.problem == ""
    assert source.closed.is_set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_of_a_reader_ends_its_camera() -> None:
    with reading(Listed([], error=ZeroDivisionError())) as ((lane,), changed):
        assert rest(lane, changed) == []
    assert lane.problem == "ended by a defect, see above"


def test_cameras_are_served_in_turn() -> None:
    with reading(Listed(FRAMES), Listed(FRAMES[:2])) as (lanes, changed), changed:
        assert changed.wait_for(lambda: len(lanes[0]._waiting) == DEPTH and len(lanes[1]._waiting) == 2, LIMIT_S)
        turn, served = 0, []
        for _ in range(6):
            it, turn = first_of(lanes, turn)
            assert it is not None
            served.append((it.lane.camera[-1], it.frame.index))
    assert served == [("0", 0), ("1", 0), ("0", 1), ("1", 1), ("0", 2), ("0", 3)]
