import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.core.errors import ConfigError, DataError, SightlineError
from pipeline.runtime.site import Site
from pipeline.services.watching import cameras_of, opened, stopping, watch_arguments, watch_command
from tests.watching import LIMIT_S, write_clip

WriteExport = Callable[..., Path]
ROOT = Path(__file__).parents[2]
PROGRAM = """
import argparse, sys
from pipeline.services.watching import watch_arguments, watch_command
parser = argparse.ArgumentParser()
watch_arguments(parser)
watch_command(parser.parse_args())
print("imported:", *sorted({name.partition(".")[0] for name in sys.modules}))
"""
SITE = """
version: 1
rules: {classes: {person: {threshold: 0.3}}}
cameras:
  door: {source: door.mkv}
  gate: {}
  yard: {source: "rtsp://user:secret@192.0.2.7/main"}
"""


@pytest.fixture
def model(write_export: WriteExport, tmp_path: Path) -> Path:
    return write_export(tmp_path / "cpu")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Three seconds of ten frames, of which five are taken; the test model sees a person in all that is bright."""
    return write_clip(tmp_path / "door.mkv", range(30))


@pytest.fixture
def site() -> Site:
    return Site.model_validate(
        {"version": 1, "cameras": {"door": {"source": "a/door.mkv"}, "gate": {}, "yard": {"source": "rtsp://h/main"}}}
    )


def watch(*arguments: object) -> None:
    parser = argparse.ArgumentParser()
    watch_arguments(parser)
    watch_command(parser.parse_args([*map(str, arguments)]))


def test_a_file_is_watched_to_its_end(model: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch(clip, "--model", model)
    said = capsys.readouterr().out
    assert "brightness, fp32: ONNX Runtime" in said
    assert "door: 15 frames, " in said
    assert "watch: 15 frames of 1 cameras, 0 dropped" in said


def test_a_source_that_breaks_is_said_and_the_others_go_on(
    model: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "torn.mkv").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    (tmp_path / "no.mkv").write_bytes(b"no video")
    watch(clip, tmp_path / "torn.mkv", tmp_path / "no.mkv", "--model", model)
    said = capsys.readouterr().out
    assert "door: 15 frames" in said
    assert "no: 0 frames" in said
    assert "3 cameras, 0 dropped, 2 ended before their end" in said


def test_where_no_camera_could_be_watched_it_is_an_error(model: Path, tmp_path: Path) -> None:
    (tmp_path / "no.mkv").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"no camera could be watched: no: .*no\.mkv"):
        watch(tmp_path / "no.mkv", "--model", model)


def test_the_duration_ends_a_loop(model: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch(clip, "--model", model, "--loop", "--duration", "0.5")
    (line,) = [it for it in capsys.readouterr().out.splitlines() if it.startswith("  door: ")]
    assert 1 <= int(line.split()[1]) <= 8  # at its own speed, five frames a second


def test_the_site_says_what_is_reported(model: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(
        "version: 1\nrules: {classes: {vehicle: {}}}\n"
        "cameras: {door: {zones: [{name: all, kind: exclude, polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]}]}}"
    )
    watch(clip, "--model", model, "--site", tmp_path / "site.yaml", "--jsonl", tmp_path / "out")
    events = [it for it in records(tmp_path / "out") if it["type"] == "event"]
    assert not [it for it in events if it["alarm"]]


def records(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def test_metadata_goes_out_as_json_lines_and_onvif(model: Path, clip: Path, tmp_path: Path) -> None:
    watch(clip, "--model", model, "--jsonl", tmp_path / "lines", "--onvif", tmp_path / "onvif")
    found = records(tmp_path / "lines")
    alarms = [it for it in found if it["type"] == "event" and it["alarm"]]
    assert [it["state"] for it in alarms] == ["begin", "end"]
    assert {it["camera"] for it in found} == {"door"}
    assert any((tmp_path / "onvif").iterdir())


def test_a_class_that_the_model_does_not_have_is_refused(model: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("version: 1\nrules: {classes: {persn: {}}}\n")
    with pytest.raises(ConfigError, match="did you mean 'person'"):
        watch(clip, "--model", model, "--site", tmp_path / "site.yaml")


@pytest.mark.parametrize(
    ("given", "cameras"),
    [
        pytest.param([], {"door": "a/door.mkv", "yard": "rtsp://h/main"}, id="all of the site"),
        pytest.param(["yard"], {"yard": "rtsp://h/main"}, id="a camera of the site"),
        pytest.param(["rtsp://h/main"], {"yard": "rtsp://h/main"}, id="a source of the site"),
        pytest.param(["clips/hall.mp4"], {"hall": "clips/hall.mp4"}, id="a file"),
        pytest.param(["clips/gate.mp4"], {"gate": "clips/gate.mp4"}, id="a file for a camera without a source"),
        pytest.param(["rtsp://u:p@h:554/live/ch1?x=p"], {"ch1": "rtsp://u:p@h:554/live/ch1?x=p"}, id="an address"),
        pytest.param(["rtsp://u:p@h"], {"h": "rtsp://u:p@h"}, id="an address without a path"),
        pytest.param(["rtsp://h/password=p4ss"], {"password": "rtsp://h/password=p4ss"}, id="a password in the path"),
    ],
)
def test_cameras_are_named(given: list[str], cameras: dict[str, str], site: Site) -> None:
    assert cameras_of(given, site) == cameras


@pytest.mark.parametrize(
    ("given", "match"),
    [
        pytest.param(["gate"], "cameras.gate has no source", id="no source"),
        pytest.param(["a/hall.mp4", "b/hall.mp4"], "two sources would be the camera 'hall'", id="one name"),
    ],
)
def test_cameras_that_cannot_be_named(given: list[str], match: str, site: Site) -> None:
    with pytest.raises(DataError, match=match):
        cameras_of(given, site)


def test_nothing_to_watch_is_said() -> None:
    with pytest.raises(DataError, match="nothing to watch"):
        cameras_of([], Site.default(["person"]))


@pytest.mark.parametrize("loop", [False, True])
def test_a_looped_file_is_live(*, loop: bool, clip: Path) -> None:
    assert opened(str(clip), lambda _: None, loop=loop).live == loop


def test_a_signal_asks_to_stop_and_a_second_one_is_not_held_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stopping() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(LIMIT_S)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_time_asks_to_stop() -> None:
    with stopping(0.01) as stop:
        assert stop.wait(LIMIT_S)


@pytest.mark.parametrize(
    "arguments", [["--duration", "0"], ["--duration", "nan"], ["--web", "-1"], ["--web", "65536"], ["--threads", "0"]]
)
def test_values_out_of_range_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        watch(*arguments)


@pytest.fixture
def watching(model: Path, clip: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`watch` in a process of its own, at work."""
    command = [sys.executable, "-c", PROGRAM, str(clip), "--model", str(model), "--loop", "--web", "0"]
    process = subprocess.Popen(
        [*command, "--jsonl", str(tmp_path / "out")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    timer = threading.Timer(60, process.kill)
    timer.start()
    while "view: http://127.0.0.1:" not in process.stdout.readline():
        assert process.poll() is None
    yield process
    timer.cancel()
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_and_it_never_needed_torch_or_mlflow(
    watching: subprocess.Popen[str], number: int, tmp_path: Path
) -> None:
    while not records(tmp_path / "out"):
        assert watching.poll() is None
    watching.send_signal(number)
    out, err = watching.communicate(timeout=LIMIT_S)
    assert watching.returncode == 0, err
    assert err == ""
    assert "watch: " in out
    (imported,) = [line.split() for line in out.splitlines() if line.startswith("imported:")]
    assert "onnxruntime" in imported
    assert not {"torch", "mlflow", "hydra", "pyarrow", "albumentations", "dvc"} & set(imported)


def test_a_port_that_is_taken_is_said(model: Path, clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SightlineError, match="another port"):
        watch(clip, "--model", model, "--web", taken.getsockname()[1])


@pytest.mark.parametrize(("options", "masked"), [([], ["person"]), (["--show-people"], [])])
def test_evidence_masks_people_unless_asked(
    options: list[str], masked: list[str], model: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watch(clip, "--model", model, "--evidence", tmp_path / "evidence", *options)
    (record,) = [json.loads(path.read_bytes()) for path in (tmp_path / "evidence/door").glob("*.json")]
    assert record["masked"] == masked
    assert (tmp_path / "evidence/door" / record["clip"]).stat().st_size > 0
    assert "evidence: 1 clips written, 0 lost" in capsys.readouterr().out
