import numpy as np
import pytest

from pipeline.core.cases import cases, in_turn
from pipeline.core.types import Detections, Frame, Sample, Truth

AT = np.array([0.5, 0.9])


def frame(i: int, camera: str) -> Frame:
    return Frame(f"f{i}", camera, camera, i, float(i), 200, 200, "x")


def truth(*rows: tuple[float, float, float, float, int, bool]) -> Truth:
    return Truth(
        np.array([r[:4] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[4] for r in rows], np.int64),
        np.array([r[5] for r in rows], np.bool_),
    )


def found(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    return Detections(
        np.array([r[:4] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[4] for r in rows], np.float32),
        np.array([r[5] for r in rows], np.int64),
    )


SAMPLE = Sample(
    (frame(0, "hall"), frame(1, "hall"), frame(2, "lobby")),
    (
        truth((0, 0, 10, 40, 0, False), (100, 0, 110, 60, 0, False)),  # the second is missed
        truth((0, 0, 10, 80, 0, False), (50, 50, 90, 90, 0, True)),  # missed: the detection is unsure
        truth((0, 0, 10, 20, 1, False)),  # missed: below its class's threshold
    ),
    (
        found((0, 0, 10, 40, 0.8, 0), (150, 150, 160, 160, 0.7, 0)),  # a hit, a false alarm
        found((55, 55, 85, 85, 0.95, 0), (0, 0, 10, 80, 0.4, 0)),  # in an ignore region: neither
        found((0, 0, 10, 20, 0.85, 1), (100, 100, 120, 120, 0.6, 0)),  # the second is a false alarm
    ),
    ("person", "vehicle"),
)


def test_which_are_chosen_and_in_which_order() -> None:
    told = [(it.kind, it.position, it.box.tolist(), it.label) for it in cases(SAMPLE, AT, 0.5, 9)]
    assert told == [
        ("hit", 0, [0, 0, 10, 40], 0),
        ("miss", 1, [0, 0, 10, 80], 0),  # the largest of the hall
        ("miss", 2, [0, 0, 10, 20], 1),  # then the lobby's
        ("miss", 0, [100, 0, 110, 60], 0),
        ("false alarm", 0, [150, 150, 160, 160], 0),
        ("false alarm", 2, [100, 100, 120, 120], 0),
    ]


def test_so_many_of_each_kind_at_most() -> None:
    assert [(it.kind, it.position) for it in cases(SAMPLE, AT, 0.5, 1)] == [
        ("hit", 0),
        ("miss", 1),
        ("false alarm", 0),
    ]


def test_nothing_to_look_at() -> None:
    empty = Sample((frame(0, "hall"),), (truth(),), (found(),), ("person", "vehicle"))
    assert cases(empty, AT, 0.5, 4) == []


@pytest.mark.parametrize(
    ("cameras", "count", "expected"),
    [
        pytest.param("aabca", 3, [0, 2, 3], id="each camera once"),
        pytest.param("aabca", 5, [0, 2, 3, 1, 4], id="then again"),
        pytest.param("", 3, [], id="none"),
    ],
)
def test_cameras_take_turns(cameras: str, count: int, expected: list[int]) -> None:
    assert in_turn(list(cameras), count) == expected
