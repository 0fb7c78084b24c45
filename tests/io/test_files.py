import json
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.io.files import (
    file_sha256,
    fresh_folder,
    read_json,
    sha256,
    whole_folder,
    write_bytes,
    write_json,
)

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_hashes_are_the_standard_s(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(b"abc") == file_sha256(tmp_path / "abc") == ABC


def test_a_file_appears_whole_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_bytes(path, b"one")
    write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["b.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def break_off_folder(path: Path) -> None:
    with whole_folder(path) as folder:
        (folder / "half").write_bytes(b"")
        raise DataError("in the middle")


def test_a_folder_takes_the_earlier_one_s_place(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with whole_folder(tmp_path / "out") as folder:
            write_bytes(folder / name, b"")
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["new"]


def test_an_error_leaves_the_earlier_folder(tmp_path: Path) -> None:
    write_bytes(tmp_path / "out" / "old", b"")
    with pytest.raises(DataError, match="in the middle"):
        break_off_folder(tmp_path / "out")
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["old"]


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    write_bytes(tmp_path / ".out.partial" / "left", b"")
    with whole_folder(tmp_path / "out") as folder:
        assert names(folder) == []
    assert names(tmp_path) == ["out"]


def test_a_fresh_folder_is_empty(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b", b"")
    assert names(fresh_folder(tmp_path / "a")) == []
    assert names(fresh_folder(tmp_path / "c" / "d")) == []


def test_json_has_sorted_keys_and_comes_back(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None], "a": {"ü": True}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert list(json.loads((tmp_path / "a.json").read_bytes())) == ["a", "b"]


def test_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(None, "does not exist", id="missing"),
        pytest.param(b"{", "is not JSON", id="cut"),
        pytest.param(b"\xff\xff", "is not JSON", id="no text"),
        pytest.param(b"[" * 100_000, "is not JSON", id="nested without end"),
    ],
)
def test_json_that_cannot_be_read_is_a_clear_error(tmp_path: Path, data: bytes | None, message: str) -> None:
    path = tmp_path / "a.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_json(path)
