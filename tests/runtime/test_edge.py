"""The runtime where it is meant to run: beside an engine, numpy, OpenCV, pydantic and nothing else."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import pytest

import pipeline
from tests.exports import write_openvino

WriteExport = Callable[..., Path]
NEEDED = (
    *("numpy", "opencv-python-headless"),
    *("pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection"),
)
MEMORY_MB = 250
CODE = """
import sys, numpy
from pathlib import Path
from pipeline.runtime.session import open_session
loaded = {"onnxruntime", "openvino", "tensorrt"} & set(sys.modules)
session = open_session(Path(sys.argv[1]))
found = session.detect(numpy.full((32, 32, 3), 204, numpy.uint8))
peak = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(sorted(loaded), [round(float(score), 3) for score in found.scores], int(peak[0].split()[1]) // 1024)
"""


@pytest.fixture
def edge(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder that holds some installed distributions, and of this project only what a camera carries."""

    def make(*names: str) -> Path:
        folder = tmp_path / "edge"
        for part in ("core", "runtime"):
            shutil.copytree(Path(pipeline.__path__[0]) / part, folder / "pipeline" / part)
        shutil.copy(Path(pipeline.__path__[0]) / "__init__.py", folder / "pipeline")
        for name in names:
            held = distribution(name)
            for top in {file.parts[0] for file in held.files or () if file.parts[0] not in {"..", "__pycache__"}}:
                _link(Path(str(held.locate_file(top))), folder / top)
        return folder

    return make


def _link(source: Path, target: Path) -> None:
    """The same files under another folder; a symbolic link would lead a library back to where it came from."""
    if source.is_file():
        _same_file(source, target)
    else:
        shutil.copytree(source, target, copy_function=_same_file)


def _same_file(source: Path | str, target: Path | str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy(source, target)


def run(folder: Path, code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Python without site-packages: what is not in `folder` or the standard library is not there."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-S", "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_it_runs_where_nothing_else_is_installed(
    edge: Callable[..., Path], write_export: WriteExport, tmp_path: Path
) -> None:
    folder = edge(*NEEDED, "onnxruntime")
    missing = run(folder, "import torch")
    assert "No module named 'torch'" in missing.stderr  # the environment is what it claims to be
    done = run(folder, CODE, str(write_export(tmp_path / "export")))
    assert done.returncode == 0, done.stderr
    loaded, scores, peak = done.stdout.replace("] [", "]|[").replace("] ", "]|").strip().split("|")
    assert (loaded, scores) == ("[]", "[0.8, 0.2]")
    assert int(peak) < MEMORY_MB


@pytest.mark.parametrize("installed", [True, False])
def test_openvino_is_asked_for_where_it_is_missing(
    edge: Callable[..., Path],
    tmp_path: Path,
    installed: bool,  # noqa: FBT001
) -> None:
    pytest.importorskip("openvino")
    folder = edge(*NEEDED, *(["openvino"] if installed else []))
    done = run(folder, CODE, str(write_openvino(tmp_path / "export")))
    if installed:
        assert done.stdout.startswith("[] [0.8, 0.2]"), done.stderr
    else:
        assert "SightlineError: this artifact needs OpenVINO; run: pip install openvino" in done.stderr
