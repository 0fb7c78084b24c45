from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.core.stage import run, stage_arguments, summary


def test_arguments_are_paths() -> None:
    args = stage_arguments("What is there?", "frames", "out").parse_args(["--frames", "a/b", "--out", "c"])
    assert (args.frames, args.out) == (Path("a/b"), Path("c"))


def test_a_missing_path_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        stage_arguments("What is there?", "frames", "out").parse_args(["--frames", "a"])
    assert ended.value.code == 2
    assert "--out" in capsys.readouterr().err


def test_help_begins_with_the_question(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        stage_arguments("What is there?\n\nReads nothing.", "out").parse_args(["--help"])
    assert "What is there?\n\nReads nothing." in capsys.readouterr().out


def test_the_summary_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    summary("split", "3 frames")
    assert capsys.readouterr().out == "split: 3 frames\n"


def test_what_a_user_can_mend_ends_with_2_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise DataError("a.json is not JSON")

    with pytest.raises(SystemExit) as ended:
        run(main)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: a.json is not JSON\n"


def test_a_defect_of_ours_keeps_its_traceback() -> None:
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main)


def test_what_goes_well_goes_on() -> None:
    done: list[bool] = []
    run(lambda: done.append(True))
    assert done == [True]
