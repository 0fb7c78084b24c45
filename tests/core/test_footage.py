"""What no training has seen of a clip, and which frames lie in a time of doubt."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from pipeline.core.footage import Doubt, Stretch, doubt, doubts_of, held_out
from pipeline.core.types import Frame, Split

TRAIN, VAL, BENCHMARK, GAP = Split.TRAIN, Split.VAL, Split.BENCHMARK, Split.GAP


def frame(at_s: float | None, clip: str = "hall/monday") -> Frame:
    return Frame(f"{at_s}", "hall", clip, 0, at_s, 100, 50, f"{clip}.mp4")


def stretches(*known: tuple[float, Split], unlabelled: Sequence[float] = ()) -> list[tuple[float, float]]:
    frames = [frame(at_s) for at_s in [*(at_s for at_s, _ in known), *unlabelled]]
    found = held_out("hall/monday", frames, {f"{at_s}": split for at_s, split in known})
    assert {(it.clip, it.camera) for it in found} <= {("hall/monday", "hall")}
    return [(it.start_s, it.end_s) for it in found]


@pytest.mark.parametrize(
    ("known", "told"),
    [
        pytest.param([(1, TRAIN), (2, VAL)], [], id="nothing in the benchmark"),
        pytest.param([(1, BENCHMARK), (2, BENCHMARK)], [(0, math.inf)], id="all of it"),
        pytest.param([(1, TRAIN), (2, BENCHMARK), (3, BENCHMARK)], [(2, math.inf)], id="its end"),
        pytest.param([(1, BENCHMARK), (2, BENCHMARK), (3, TRAIN)], [(0, 2)], id="its begin"),
        pytest.param(
            [(1, TRAIN), (2, BENCHMARK), (3, BENCHMARK), (4, VAL), (5, BENCHMARK), (6, GAP)], [(2, 3), (5, 5)],
            id="between, and a single frame"
        ),
        pytest.param([(3, BENCHMARK), (1, TRAIN), (2, BENCHMARK)], [(2, math.inf)], id="in any order"),
        pytest.param([(1, GAP), (2, BENCHMARK)], [(2, math.inf)], id="a gap is no benchmark"),
    ],
)  # fmt: skip
def test_labelled_frames_say_what_is_held_out(
    known: list[tuple[float, Split]], told: list[tuple[float, float]]
) -> None:
    assert stretches(*known) == told


def test_what_nobody_labelled_says_nothing() -> None:
    assert stretches((2, BENCHMARK), (3, TRAIN), unlabelled=[0.5, 2.5, 9]) == [(0, 2)]
    assert stretches(unlabelled=[1, 2]) == [(0, math.inf)]


@pytest.mark.parametrize(
    ("clip", "camera"),
    [("gate", "gate"), ("lobby/monday", "lobby"), ("berlin/lobby/monday", "lobby")],
)
def test_the_camera_of_what_was_not_ingested_is_its_folder_as_for_ingest(clip: str, camera: str) -> None:
    assert held_out(clip, [], {}) == [Stretch(clip, camera, 0, math.inf)]


def finding(start_s: float, end_s: float | None, severity: float, kind: str = "covered") -> dict[str, Any]:
    return {"kind": kind, "start_s": start_s, "end_s": end_s, "severity": severity, "detail": "a hand"}


TESTED = {
    "health": [
        {"clip": "hall/monday", "findings": [finding(2, 4, 0.3), finding(3, None, 0.9, "moved")]},
        {"clip": "lobby", "findings": []},
    ]
}


@pytest.mark.parametrize(
    ("it", "kind"),
    [
        pytest.param(frame(1.9), None, id="before"),
        pytest.param(frame(2.0), "covered", id="from its begin"),
        pytest.param(frame(3.5), "moved", id="the gravest of two"),
        pytest.param(frame(1e6), "moved", id="what lasts has no end"),
        pytest.param(frame(3.5, "lobby"), None, id="another clip"),
        pytest.param(frame(None), None, id="a picture without a time"),
    ],
)
def test_the_gravest_doubt_of_a_frame(it: Frame, kind: str | None) -> None:
    found = doubt(it, doubts_of(TESTED))
    assert found is None or found.why == f"the camera was {kind}: a hand"
    assert (found is None) == (kind is None)


def test_without_a_finding_there_is_no_doubt() -> None:
    assert doubts_of({"health": []}) == []
    assert doubt(frame(1.0), [Doubt("hall/monday", 2, 3, 1, "")]) is None
