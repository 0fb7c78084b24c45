"""Ten hostile inputs through the stages' own commands: a clear message or a counted quarantine, never a traceback."""

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
CAMERAS = ("hall", "lot_b")


def command(folder: Path, stage: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", f"pipeline.{stage}", *arguments],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def use(folder: Path, *overrides: str) -> None:
    """params.yaml in the folder, composed as a user would."""
    shutil.copytree(ROOT / "conf", folder / "conf")
    done = command(folder, "cli", "compose", *overrides)
    assert done.returncode == 0, done.stderr


def photograph(seed: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (320, 180), interpolation=cv2.INTER_CUBIC), np.uint8)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims to be so large and holds a few bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


def test_pictures(tmp_path: Path) -> None:
    jpeg = [cv2.imencode(".jpg", photograph(i))[1].tobytes() for i in range(4)]
    files = {
        "a-good.jpg": jpeg[0],
        "truncated.jpg": jpeg[1][: len(jpeg[1]) // 2],
        "empty.jpg": b"",
        "png.jpg": cv2.imencode(".png", photograph(2))[1].tobytes(),
        "bomb.png": bomb(50_000, 50_000),
        "z-good.jpg": jpeg[3],
    }
    (tmp_path / "in").mkdir()
    for name, data in files.items():
        (tmp_path / "in" / name).write_bytes(data)
    use(tmp_path, "data=folder", "data.path=in")
    done = command(tmp_path, "ingest", "--source", "in", "--out", "frames")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    report = json.loads((tmp_path / "frames/ingest.json").read_bytes())
    assert report["usable"] == 2
    assert report["quarantined"] == {"truncated": 1, "empty file": 1, "wrong extension": 1, "too large": 1}


def test_a_video_that_breaks_off_in_the_middle(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(ROOT / "data/demo/clips/hall.mp4", tmp_path / "in")
    whole = (ROOT / "data/demo/clips/lot_b.mp4").read_bytes()
    (tmp_path / "in/lot_b.mp4").write_bytes(whole[: len(whole) // 2])
    use(tmp_path, "data=video", "data.path=in", "ingest.sampling.mode=all")
    done = command(tmp_path, "ingest", "--source", "in", "--out", "frames")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    report = json.loads((tmp_path / "frames/ingest.json").read_bytes())
    assert report["cameras"]["hall"]["usable"] == 23
    assert report["quarantined"]["broken video"] == 1


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cameras of the demo, ingested."""
    folder = tmp_path_factory.mktemp("ingested")
    (folder / "in").mkdir()
    for camera in CAMERAS:
        shutil.copy(ROOT / f"data/demo/clips/{camera}.mp4", folder / "in")
    use(folder, "data.path=in", "data.labels.path=export.json")
    done = command(folder, "ingest", "--source", "in", "--out", "frames")
    assert done.returncode == 0, done.stderr
    return folder


def boxes(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every rectangle of the tasks."""
    results = [r for task in tasks for annotation in task["annotations"] for r in annotation["result"]]
    return [r for r in results if r["type"] == "rectanglelabels"]


def climb(tasks: list[dict[str, Any]]) -> None:
    tasks[0]["data"] = {"image": "/data/local-files/?d=../../etc/passwd"}


def rename(tasks: list[dict[str, Any]]) -> None:
    boxes(tasks)[0]["value"]["rectanglelabels"] = ["van"]


def blank(tasks: list[dict[str, Any]]) -> None:
    boxes(tasks)[0]["value"]["x"] = float("nan")


def empty(tasks: list[dict[str, Any]]) -> None:
    tasks.clear()


def double(tasks: list[dict[str, Any]]) -> None:
    tasks[1]["id"] = tasks[0]["id"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(climb, "..", id="a path that climbs"),
        pytest.param(rename, "label 'van', which data.classes does not name", id="unknown label"),
        pytest.param(blank, "nan", id="NaN box"),
        pytest.param(empty, "no task", id="empty export"),
        pytest.param(double, "is there twice", id="duplicate task id"),
    ],
)
def test_annotations(ingested: Path, spoil: Callable[[list[dict[str, Any]]], None], says: str) -> None:
    tasks = json.loads((ROOT / "data/demo/labelstudio/export.json").read_bytes())
    cut = [task for task in tasks if task["data"]["camera"] in CAMERAS]
    spoil(cut)
    (ingested / "export.json").write_text(json.dumps(cut))
    done = command(ingested, "annotate", "--labels", "export.json", "--frames", "frames", "--out", "annotations")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert says in done.stderr.lower() or says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (ingested / "annotations").exists()
