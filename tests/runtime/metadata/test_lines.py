"""Lines on disk: whole ones only, in files that stay within their bounds."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.errors import ConfigError, SightlineError
from pipeline.runtime.metadata.lines import LineFiles


def test_files_rotate_by_size_and_the_oldest_go(tmp_path: Path) -> None:
    files = LineFiles(tmp_path, "m", ".jsonl", max_bytes=20, keep=3)
    for number in range(10):
        files.write(f"line-{number}")  # 7 bytes with its end: two a file
    files.close()
    assert [path.name for path in files.paths] == ["m-000003.jsonl", "m-000004.jsonl", "m-000005.jsonl"]
    assert all(path.stat().st_size <= 20 for path in files.paths)
    assert "".join(path.read_text() for path in files.paths).split() == [f"line-{number}" for number in range(4, 10)]


def test_a_line_longer_than_a_file_is_written_whole(tmp_path: Path) -> None:
    files = LineFiles(tmp_path, "m", ".jsonl", max_bytes=5)
    files.write("longer than that")
    files.write("b")
    assert [path.read_text() for path in files.paths] == ["longer than that\n", "b\n"]


def test_a_new_run_begins_a_new_file_and_leaves_a_torn_line_alone(tmp_path: Path) -> None:
    (tmp_path / "m-000007.jsonl").write_text('{"whole":1}\n{"torn"')
    files = LineFiles(tmp_path, "m", ".jsonl")
    files.write("next")
    assert (tmp_path / "m-000007.jsonl").read_text().endswith('{"torn"')
    assert (tmp_path / "m-000008.jsonl").read_text() == "next\n"


def test_a_line_break_cannot_make_two_lines_of_one(tmp_path: Path) -> None:
    files = LineFiles(tmp_path, "m", ".jsonl")
    files.write("a\nb\r\nc\u2028d")
    assert files.paths[0].read_text() == "a b c d\n"


def test_a_full_disk_leaves_whole_lines_and_a_message(tmp_path: Path) -> None:
    """The limit of a file's size stands for the disk: the kernel writes what fits, and then refuses."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from pipeline.core.errors import SightlineError\n"
        "from pipeline.runtime.metadata.lines import LineFiles\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))\n"
        "files = LineFiles(Path(sys.argv[1]), 'm', '.jsonl')\n"
        "try:\n"
        "    for _ in range(9): files.write('0123456789012345678901234567')\n"
        "except SightlineError as error: print(error)\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    )
    assert "cannot write metadata" in done.stdout
    assert (tmp_path / "m-000001.jsonl").read_text() == "0123456789012345678901234567\n" * 3


def test_limits_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        LineFiles(tmp_path, "m", ".jsonl", keep=0)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SightlineError, match="file/below cannot be made"):
        LineFiles(tmp_path / "file" / "below", "m", ".jsonl")
