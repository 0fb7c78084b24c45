import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.exports import write_kit


def test_only_a_kit_can_be_built(
    write_export: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["engine", "build", str(write_export(tmp_path))])
    assert "no TensorRT kit; build from models/export/nvidia" in capsys.readouterr().err


def test_without_the_library_the_kit_is_left_ready_to_carry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    kit = write_kit(tmp_path / "nvidia")
    before = {path.name: path.read_bytes() for path in kit.iterdir()}
    with pytest.raises(SystemExit, match="2"):
        main(["engine", "build", str(kit)])
    assert "pip install tensorrt-cu13" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in kit.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["nvidia"]
