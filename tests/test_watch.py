"""`watch` as a whole, for seconds: four clips in a loop, a camera that is cut off, one that never answers.

benchmarks/soak.py does the same for minutes, with a broker.
"""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import psutil
import pytest

from pipeline.runtime.cameras import Camera, CameraStatus, Watch
from pipeline.runtime.metadata.jsonl import JsonLines
from pipeline.runtime.metadata.scene import Scene
from pipeline.runtime.metadata.sink import MetadataSink
from pipeline.runtime.motion import MotionParams
from pipeline.runtime.outlets import Outlet
from pipeline.runtime.session import open_session
from pipeline.runtime.site import Site
from pipeline.runtime.watching import CameraPipeline, detector_of
from pipeline.services.watch_run import opened
from tests.cameras import camera, needs_rtsp, write_stream
from tests.watching import LIMIT_S, write_clip

WriteExport = Callable[..., Path]
ROOT = Path(__file__).parents[1]
CLIPS = [ROOT / "data/demo/clips" / f"{name}.mp4" for name in ("lobby", "lot_a", "aisle", "workshop")]
PROGRAM = """
import argparse
from pipeline.services.watching import watch_arguments, watch_command
parser = argparse.ArgumentParser()
watch_arguments(parser)
watch_command(parser.parse_args())
"""


def watch_of(folder: Path, sources: Sequence[str], outlets: Sequence[Outlet] = ()) -> Watch:
    detector = detector_of(open_session(folder, threads=1))
    site = Site.default(detector.classes)
    return Watch(
        [
            Camera(
                partial(opened, text, loop=True),
                CameraPipeline(f"camera {i}", detector, site.camera(""), MotionParams()),
            )
            for i, text in enumerate(sources)
        ],
        outlets,
    )


def test_four_clips_in_a_loop_lose_nothing_and_keep_their_memory(write_export: WriteExport, tmp_path: Path) -> None:
    """Aisle and workshop last less than five seconds, so they begin anew within the test."""
    sink = MetadataSink(Scene(("person", "vehicle")), [JsonLines(tmp_path / "lines")])
    outlet = Outlet("jsonl", sink)
    watch = watch_of(write_export(tmp_path / "cpu"), [str(clip) for clip in CLIPS], [outlet])
    memory: list[tuple[float, int]] = []
    stop = threading.Event()
    began = time.monotonic()

    def tell(_: list[CameraStatus]) -> None:
        memory.append((time.monotonic() - began, psutil.Process().memory_info().rss))
        if memory[-1][0] >= 8:
            stop.set()

    status = watch.run(stop, tell, every_s=0.2)
    seconds = memory[-1][0]
    for it in status:
        assert not it.problem
        assert it.frames + it.dropped == pytest.approx(5 * seconds, abs=5), it  # five a second are taken of each
    assert outlet.status().lost == outlet.status().failed == 0
    early = max(rss for at, rss in memory if at <= seconds / 2)
    assert memory[-1][1] <= 1.05 * early


@needs_rtsp
def test_a_camera_that_is_cut_off_loses_the_frames_of_that_time_and_no_one_else_does(
    write_export: WriteExport, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "door.mkv", range(50))
    with camera(write_stream(tmp_path / "stream")) as live:
        watch = watch_of(write_export(tmp_path / "cpu"), [live.address(), str(clip)])
        stop = threading.Event()
        told: list[CameraStatus] = []
        marks = {"cut": 0.0, "back": 0.0}

        def tell(status: list[CameraStatus]) -> None:
            now = time.monotonic()
            told.append(status[0])
            if not marks["cut"] and status[0].frames >= 5:
                live.kill()
                marks["cut"] = now
            elif marks["cut"] and not marks["back"] and now - marks["cut"] > 1.0:
                live.start()
                marks["back"] = now
            elif status[0].gaps or now - began > LIMIT_S:
                stop.set()

        began = time.monotonic()
        status = watch.run(stop, tell, every_s=0.05)
        seconds = time.monotonic() - began
    cut_s = marks["back"] - marks["cut"]
    assert any(it.outage for it in told)
    assert told[-1].outage == ""
    assert (status[0].gaps, status[0].problem) == (1, "")
    assert cut_s - 0.3 <= status[0].gap_s <= cut_s + 6  # it calls again after 0.5 s, then 1, 2, 4 at most
    assert status[0].frames + status[0].dropped == pytest.approx(5 * (seconds - status[0].gap_s), abs=6)
    assert status[1].frames + status[1].dropped == pytest.approx(5 * seconds, abs=5)


def test_a_camera_that_never_answers_does_not_keep_the_command_from_its_end(
    write_export: WriteExport, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"rtsp://user:secret@127.0.0.1:{silent.getsockname()[1]}/live"
        command = [sys.executable, "-c", PROGRAM, address, str(write_clip(tmp_path / "door.mkv", range(20)))]
        command += ["--model", str(write_export(tmp_path / "cpu")), "--duration", "1"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "live: 0 frames" in done.stdout
    assert "door: 10 frames" in done.stdout
    assert "secret" not in done.stdout + done.stderr
