import argparse
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.core.errors import ConfigError, DataError, SightlineError
from pipeline.services.watching import watch_arguments, watch_command
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


@pytest.fixture
def model(write_export: WriteExport, tmp_path: Path) -> Path:
    return write_export(tmp_path / "cpu")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Three seconds of ten frames, of which five are taken; the test model sees a person in all that is bright."""
    return write_clip(tmp_path / "door.mkv", range(30))


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


def test_other_commands_do_not_pay_for_it() -> None:
    code = "import sys; import pipeline.services.watching; print({'av', 'onnxruntime', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_broker_that_is_not_there_costs_no_frame_and_is_said(
    model: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("paho.mqtt", reason="MQTT needs paho-mqtt; pip install 'sightline[mqtt]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"mqtt://127.0.0.1:{free.getsockname()[1]}"
        watch(clip, "--model", model, "--mqtt", address, "--jsonl", tmp_path / "out")
    streams = capsys.readouterr()
    assert "door: 15 frames" in streams.out
    assert re.search(r"mqtt: .* closed, [1-9]\d* lost", streams.out)
    assert "messages could not be delivered before the end" in streams.err
    assert [it["type"] for it in records(tmp_path / "out")].count("event") == 4
