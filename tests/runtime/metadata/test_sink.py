"""One observation, the same for every output."""

from dataclasses import dataclass, field

from pipeline.runtime.metadata.scene import Clock, Scene, SceneEvent, SceneFrame
from pipeline.runtime.metadata.sink import MetadataSink
from tests.scenes import CLASSES, START, Seen, event, track


@dataclass
class Kept:
    """An output that keeps all."""

    got: list[SceneFrame | SceneEvent] = field(default_factory=list)
    closed: bool = False

    def frame(self, it: SceneFrame) -> None:
        self.got.append(it)

    def event(self, it: SceneEvent) -> None:
        self.got.append(it)

    def close(self) -> None:
        self.closed = True


def test_every_output_gets_the_same_numbers_and_times() -> None:
    outputs = [Kept(), Kept()]
    sink = MetadataSink(Scene(CLASSES, Clock(START)), outputs)
    sink.emit(Seen(tracks=[track(9), track(4)], events=[event(track_ids=(4,))]))
    sink.emit(Seen(timestamp_s=1))
    sink.emit(Seen(timestamp_s=2))
    sink.close()
    assert outputs[0].got == outputs[1].got
    assert [type(it) for it in outputs[0].got] == [SceneFrame, SceneEvent, SceneFrame]
    assert all(it.closed for it in outputs)
