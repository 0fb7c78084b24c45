from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.core.writing import whole


def break_off(path: Path) -> None:
    with whole(path) as temporary:
        temporary.write_bytes(b"half")
        raise DataError("in the middle")


def test_an_error_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")
    with pytest.raises(DataError, match="in the middle"):
        break_off(path)
    assert path.read_bytes() == b"before"
    assert [it.name for it in tmp_path.iterdir()] == ["a"]


def test_a_file_appears_with_its_folders_and_may_be_read_by_all(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    with whole(path) as temporary:
        temporary.write_bytes(b"one")
    assert path.read_bytes() == b"one"
    assert path.stat().st_mode & 0o777 == 0o644
