import threading
import time
from collections.abc import Sequence

import pytest

from pipeline.core.errors import DataError
from pipeline.core.types import Detections
from pipeline.runtime.cameras import Camera, CameraStatus, Watch
from pipeline.runtime.frames import Gap, LazyFrame, OnGap, Source
from pipeline.runtime.outlets import Outlet
from pipeline.runtime.site import Site
from pipeline.runtime.watching import PARTS, CameraPipeline, Detector, Observation
from tests.watching import CLASSES, DETECTOR, LIMIT_S, Collected, Listed, frames

SITE = Site.default(CLASSES)
PERSON = [20] * 15  # a second and a half


def camera(name: str, source: Source, detector: Detector = DETECTOR) -> Camera:
    return Camera(lambda _: source, CameraPipeline(name, detector, SITE.camera(name)))


def run(*cameras: Camera, stop: threading.Event | None = None) -> tuple[dict[str, CameraStatus], Collected]:
    sink = Collected()
    status = Watch(cameras, [Outlet("sink", sink)]).run(stop or threading.Event(), every_s=0.01)
    return {it.camera: it for it in status}, sink


def test_all_frames_of_all_cameras_are_served() -> None:
    status, sink = run(camera("door", Listed(frames(PERSON))), camera("yard", Listed(frames([None] * 5))))
    assert {name: (it.frames, it.looks, it.tracks, it.dropped) for name, it in status.items()} == {
        "door": (15, 15, 1, 0),
        "yard": (5, 5, 0, 0),
    }
    assert [it.timestamp_s for it in sink.taken if it.camera == "yard"] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert sink.closed
    assert all(set(it.seconds) == set(PARTS) and it.seconds["decode"] > 0 for it in status.values())


def test_an_alarm_that_lasts_is_counted_and_ends_with_its_source() -> None:
    lasting: list[int] = []

    class Asks(Collected):
        def emit(self, it: Observation) -> None:
            super().emit(it)
            lasting.append(watch.status()[0].alarms)

    sink = Asks()
    watch = Watch([camera("door", Listed(frames(PERSON)))], [Outlet("sink", sink)])
    assert watch.run(threading.Event())[0].alarms == 0
    assert max(lasting) == 1
    assert [(event.end_s, event.alarm) for event in sink.events()] == [(None, True), (1.4, True)]


def test_a_source_that_breaks_does_not_stop_the_others() -> None:
    def refuse(_: OnGap) -> Source:
        raise DataError("gone.mp4 does not exist")

    status, _ = run(
        Camera(refuse, CameraPipeline("gone", DETECTOR, SITE.camera("gone"))),
        camera("torn", Listed(frames(PERSON[:3]), error=DataError("breaks off"))),
        camera("good", Listed(frames(PERSON))),
    )
    assert {name: (it.frames, it.problem) for name, it in status.items()} == {
        "gone": (0, "gone.mp4 does not exist"),
        "torn": (3, "breaks off"),
        "good": (15, ""),
    }


def test_a_frame_that_cannot_be_worked_on_ends_its_camera_alone() -> None:
    def fails(_: LazyFrame) -> Detections:
        raise DataError("a frame cannot be converted")

    detector = Detector(fails, CLASSES, DETECTOR.thresholds)
    status, _ = run(camera("odd", Listed(frames(PERSON)), detector), camera("good", Listed(frames(PERSON))))
    assert (status["odd"].problem, status["odd"].frames) == ("a frame cannot be converted", 0)
    assert status["good"].frames == 15


def test_gaps_are_counted_and_told_with_the_next_frame() -> None:
    def opened(on_gap: OnGap) -> Source:
        def wait(it: LazyFrame) -> None:
            if it.index == 5:
                on_gap(Gap(0.4, None, "unplugged"))
                on_gap(Gap(0.4, 30.0, "unplugged"))

        return Listed(frames(PERSON), wait=wait)

    status, sink = run(Camera(opened, CameraPipeline("door", DETECTOR, SITE.camera("door"))))
    assert (status["door"].gaps, status["door"].gap_s, status["door"].outage) == (1, 30.0, "")
    assert [(it.timestamp_s, gap.reason) for it in sink.taken for gap in it.gaps] == [(0.5, "unplugged")]


def test_an_outage_is_told_while_it_lasts() -> None:
    told: list[str] = []
    stop = threading.Event()

    def opened(on_gap: OnGap) -> Source:
        def wait(_: LazyFrame) -> None:
            on_gap(Gap(0.0, None, "unplugged"))
            stop.wait(LIMIT_S)

        return Listed(frames([None]), wait=wait)

    def tell(status: Sequence[CameraStatus]) -> None:
        told.extend(it.outage for it in status)
        if "unplugged" in told:
            stop.set()

    Watch([Camera(opened, CameraPipeline("door", DETECTOR, SITE.camera("door")))]).run(stop, tell, every_s=0.01)
    assert "unplugged" in told


def test_a_slow_detector_costs_a_live_camera_frames_and_says_how_many() -> None:
    read = threading.Event()

    class Counted(Listed):
        def frames(self):  # type: ignore[no-untyped-def] # as Listed
            yield from super().frames()
            read.set()

    def slow(it: LazyFrame) -> Detections:
        read.wait(LIMIT_S)  # until the reader has put all of them
        return Detections.empty()

    source = Counted(frames([None] * 20), live=True)
    status, sink = run(camera("gate", source, Detector(slow, CLASSES, DETECTOR.thresholds)))
    it = status["gate"]
    assert it.frames + it.dropped == 20
    assert 4 <= it.frames <= 5
    assert sink.taken[-1].timestamp_s == pytest.approx(1.9)  # the newest is the one to keep


def test_stop_ends_all_and_what_was_seen_goes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.runtime.cameras.READERS_END_S", 0.05)
    stop = threading.Event()
    hung = threading.Event()
    lasting = Listed(frames(PERSON), live=True, wait=lambda _: None)

    def forever(it: LazyFrame) -> None:
        if it.index == 1:
            stop.set()
            hung.wait(LIMIT_S)

    began = time.monotonic()
    status, sink = run(camera("door", lasting), camera("hangs", Listed(frames([None] * 3), wait=forever)), stop=stop)
    assert time.monotonic() - began < LIMIT_S / 2  # a reader that hangs is left behind
    assert sink.closed
    assert not status["door"].problem
    hung.set()


def test_a_sink_that_hangs_blocks_no_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.runtime.cameras.SINKS_END_S", 0.05)
    go = threading.Event()

    class Hangs(Collected):
        def emit(self, _: Observation) -> None:
            go.wait(LIMIT_S)

    good, outlets = Collected(), []
    outlets = [Outlet("hangs", Hangs()), Outlet("good", good)]
    status = Watch([camera("door", Listed(frames(PERSON)))], outlets).run(threading.Event())
    go.set()
    assert status[0].frames == 15
    assert len(good.taken) == 16  # and what ended with the source
    assert outlets[0].status().lost == 15
