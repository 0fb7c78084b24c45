from typing import Any

import pytest

from pipeline.core.errors import DataError
from pipeline.core.params import AnnotateParams
from pipeline.core.types import Frame
from pipeline.io.formats.record import Region, Task, Version
from pipeline.io.placement import Tally, place

LENIENT = AnnotateParams.parse(
    "annotate",
    {
        "unknown_label": "count",
        "outside_frame": "clip",
        "zero_area": "count",
        "missing_frame": "count",
        "duplicate_task": "count",
        "polygons": "leave_out",
        "consensus_iou": 0.5,
    },
)
STRICT = LENIENT.model_copy(update={"missing_frame": "error", "duplicate_task": "error"})


def frame(name: str, **more: Any) -> Frame:
    return Frame(**{"frame_id": name, "camera": "cam", "clip": "cam", "index": ord(name[0]), "timestamp_s": None,
                       "width": 200, "height": 100, "source": f"cam/{name}.jpg", **more})  # fmt: skip


def task(number: str, name: str, **more: Any) -> Task:
    return Task(number, (f"cam/{name}.jpg",), (Version((Region("person", 0, 0, 1, 1),)),), **more)


COPY = frame("c", reason="duplicate", duplicate_of="a", frame_id="a")


@pytest.mark.parametrize(
    ("tasks", "placed", "left_out"),
    [
        pytest.param([task("1", "a"), task("2", "b")], {"a": "1", "b": "2"}, {}, id="each-its-own"),
        pytest.param([task("1", "c")], {"a": "1"}, {}, id="lent-by-a-duplicate"),
        pytest.param(
            [task("1", "c"), task("2", "a")],
            {"a": "2"},
            {"frame is a duplicate of an annotated one": 1},
            id="its-own-goes-first",
        ),
        pytest.param([task("1", "a"), task("2", "a")], {"a": "1"}, {"second task of a frame": 1}, id="twice"),
        pytest.param([task("1", "a"), task("1", "b")], {"a": "1"}, {"task id used twice": 1}, id="one-number"),
        pytest.param([task("1", "q")], {}, {"frame quarantined": 1}, id="quarantined"),
        pytest.param([task("1", "x")], {}, {"no such frame": 1}, id="missing"),
        pytest.param([task("1", "a", size=(100, 200))], {}, {"frame of another shape": 1}, id="on-its-side"),
        pytest.param([Task("1", ("cam/a.jpg",))], {}, {"task without annotation": 1}, id="nobody-looked"),
    ],
)
def test_every_task_is_placed_or_counted(tasks: list[Task], placed: dict[str, str], left_out: dict[str, int]) -> None:
    tally = Tally()
    frames = [frame("a"), frame("b"), COPY, frame("q", reason="too dark")]
    found = place(tasks, frames, LENIENT, tally, video=False)
    assert {frame_id: it.id for frame_id, it in found.items()} == placed
    assert tally.left_out == left_out


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        pytest.param([task("1", "a"), task("2", "a")], "tasks 1 and 2 are the same frame", id="twice"),
        pytest.param([task("1", "x")], "task 1: no frame of this data set is 'cam/x.jpg'", id="missing"),
    ],
)
def test_where_the_parameters_are_strict_it_stops(tasks: list[Task], message: str) -> None:
    with pytest.raises(DataError, match=message):
        place(tasks, [frame("a")], STRICT, Tally(), video=False)
