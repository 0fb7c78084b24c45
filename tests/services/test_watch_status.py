import io
import logging
from dataclasses import replace

import pytest

from pipeline.core.errors import DataError
from pipeline.runtime.cameras import CameraStatus
from pipeline.runtime.outlets import Outlet, OutletStatus
from pipeline.runtime.watching import PARTS, Observation
from pipeline.services import watch_status
from pipeline.services.watch_status import StatusLines, balance, line, warnings
from tests.watching import SIZE, Collected

START = CameraStatus("door", 0, 0, 0, 0, 0, 0, 0.0, (), "", dict.fromkeys(PARTS, 0.0), ended=False, problem="")
LATER = replace(START, frames=25, looks=10, tracks=2, alarms=1, dropped=3)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_rates_are_those_since_the_line_before() -> None:
    words = line(replace(LATER, frames=75, looks=20), LATER, 2.0).split()
    assert words[:5] == ["door:", "25.0", "frames/s", "5.0", "detections/s"]


def test_a_line_says_tracks_alarms_drops_health_and_gaps() -> None:
    told = line(LATER, START, 1.0)
    assert "2 tracks  1 alarm  dropped 3  healthy  no gap" in told
    assert "1 gap of 30.0 s" in line(replace(LATER, gaps=1, gap_s=30.0), START, 1.0)


@pytest.mark.parametrize(
    ("status", "condition"),
    [
        (replace(LATER, health=("covered", "too dark")), "COVERED, TOO DARK"),
        (replace(LATER, health=("covered",), outage="connection refused"), "NO SIGNAL: connection refused"),
        (replace(LATER, ended=True), "ended"),
        (replace(LATER, ended=True, problem="breaks off"), "BROKEN: breaks off"),
    ],
    ids=["health", "outage", "ended", "broken"],
)
def test_the_worst_that_is_known_is_the_condition(status: CameraStatus, condition: str) -> None:
    assert f"  {condition}  " in line(status, START, 1.0)


def test_at_a_terminal_the_lines_are_redrawn() -> None:
    out = Terminal()
    lines = StatusLines(out=out)
    yard = replace(LATER, camera="yard")
    lines.show([LATER, yard])
    first = out.getvalue()
    lines.show([LATER, yard])
    again = out.getvalue().removeprefix(first)
    assert first.count("\n") == again.count("\n") == 2
    assert "\x1b[2F" not in first
    assert again.startswith("\x1b[2F\x1b[J")


def test_at_a_terminal_no_line_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = Terminal()
    StatusLines(out=out).show([replace(LATER, problem="x" * 100)])
    assert max(map(len, out.getvalue().removeprefix("\x1b[J").splitlines())) == 39


def test_where_no_one_looks_plain_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    lines = StatusLines(out=out)
    lines.show([LATER])
    assert out.getvalue() == ""
    monkeypatch.setattr(watch_status, "PLAIN_EVERY_S", 0.0)
    lines.show([LATER])
    assert out.getvalue().startswith("door: ")
    assert "\x1b" not in out.getvalue()


def test_each_trouble_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Full(Collected):
        def emit(self, _: Observation) -> None:
            raise DataError("the disk is full")

    outlet = Outlet("jsonl", Full())
    outlet.offer(Observation("door", 0.0, SIZE, [], [], detected=False, moving=False, seconds={}))
    outlet.close(10)
    lines = StatusLines([outlet], out=io.StringIO())
    out = replace(LATER, outage="no data for 10 s")
    for status in (LATER, out, out, LATER, replace(LATER, health=("covered",))):
        lines.show([status])
    assert capsys.readouterr().err.splitlines() == [
        "  jsonl: the disk is full",
        "  door: NO SIGNAL: no data for 10 s",
        "  door: well again",
        "  door: COVERED",
    ]


def test_the_balance_leaves_nothing_lost_unsaid() -> None:
    status = replace(LATER, gaps=2, gap_s=31.5, seconds={"decode": 1.0, "motion": 0.25}, problem="breaks off")
    outlets = [OutletStatus("jsonl", 25, 0, 0, ""), OutletStatus("mqtt", 20, 4, 1, "no broker")]
    assert balance([status], outlets) == [
        "door: 25 frames, 10 detections, 3 dropped, 2 gaps of 31.5 s; decode 1.0 s, motion 0.2 s - breaks off",
        "mqtt: 20 observations taken, 4 lost, 1 failed - no broker",
    ]


def test_what_others_have_to_say_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_status, "PLAIN_EVERY_S", 0.0)
    out = io.StringIO()
    StatusLines(notes={"mqtt": lambda: "broker is away"}, out=out).show([LATER])
    assert out.getvalue().splitlines()[1] == "mqtt: broker is away"


def test_warnings_of_ours_are_said_between_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings() as heard:
        lines = StatusLines(heard=heard, out=io.StringIO())
        logging.getLogger("pipeline.anything").warning("%s is away", "the broker")
        lines.show([LATER])
        assert capsys.readouterr().err == "  the broker is away\n"
        logging.getLogger("pipeline.anything").warning("too late for the lines")
    assert capsys.readouterr().err == "  too late for the lines\n"
