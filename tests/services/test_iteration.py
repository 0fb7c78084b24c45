"""What an iteration has left behind; that all of it is read and broken files are named: tests/test_register.py."""

from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.services.iteration import dvc_hashes, key, numbers, read_curves


@pytest.mark.parametrize("line", ["{}", "[1]", "{", '{"epoch": "last"}'])
def test_broken_curves_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "curves.jsonl").write_text(line)
    with pytest.raises(DataError, match="does not hold a row of figures an epoch"):
        read_curves(tmp_path / "curves.jsonl")


def test_a_broken_lock_file_is_named(tmp_path: Path) -> None:
    assert dvc_hashes(tmp_path / "none", Path("data")) == {}
    for text in ("stages: [", "stages:\n  a: 1", "{}"):
        (tmp_path / "dvc.lock").write_text(text)
        with pytest.raises(DataError, match="sightline repair"):
            dvc_hashes(tmp_path / "dvc.lock", Path("data"))


def test_figures_become_keys_that_mlflow_takes() -> None:
    figures = {"AP": 0.5, "class": {"fire+smoke": {"AP50": 1}}, "passed": True, "none": None, "odd": float("nan")}
    assert numbers(figures) == {"AP": 0.5, "class/fire_smoke/AP50": 1.0}
    assert key("cpu/int8 @ 50%") == "cpu/int8 _ 50_"
