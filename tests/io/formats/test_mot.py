"""MOTChallenge's text, good and bad."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.core.types import Detections
from pipeline.io.formats.mot import from_mot, read_mot
from pipeline.io.formats.prediction import Found, to_mot

DEMO = Path(__file__).parents[3] / "data" / "demo" / "tracks"
TRUTH = "1,1,239.0,64.0,79.0,166.0,1,1,0.6\n3,2,10,20,30,40,0,2,1.0\n\n1,2,0,0,5,5,1,1,1\n"
RESULT = "1,3,113.84,274.5,57.307,130.05,-1,-1,-1,-1\n"
OF_2015 = "1,1,88,99,61.08,218.56,1,4.4852,5.5016,0\n"  # its eighth field is a place in the world


def test_truth_has_classes_and_says_what_is_to_be_considered() -> None:
    rows = from_mot(TRUTH, "gt.txt")
    assert rows.frame.tolist() == [1, 3, 1]
    assert rows.labels.tolist() == [1, 2, 1]
    assert rows.confidence.tolist() == [1, 0, 1]
    assert rows.boxes[0].tolist() == [239, 64, 318, 230]


@pytest.mark.parametrize("text", [RESULT, OF_2015])
def test_results_and_the_truth_of_2015_have_no_class(text: str) -> None:
    assert from_mot(text, "it.txt").labels.tolist() == [-1]


def test_frames_hold_what_is_in_them_up_to_the_end_of_the_clip() -> None:
    rows = from_mot(TRUTH, "gt.txt")
    assert [it.ids.tolist() for it in rows.frames(4)] == [[1, 2], [], [2], []]
    assert [it.ids.tolist() for it in rows.where(rows.confidence != 0).frames(4)] == [[1, 2], [], [], []]
    assert [it.boxes.shape for it in rows.frames(2)] == [(2, 4), (0, 4)]


def test_an_empty_file_has_no_lines() -> None:
    assert [len(it.ids) for it in from_mot("", "gt.txt").frames(2)] == [0, 0]


def test_what_predict_writes_can_be_read() -> None:
    found = Detections(np.array([[1, 2, 4, 6]], np.float32), np.array([0.5], np.float32), np.array([1]))
    rows = from_mot(to_mot([Found("a.mp4", 4, 0.4, (64, 48), found)] * 2), "a.txt")
    assert (rows.frame.tolist(), rows.ids.tolist(), rows.boxes[1].tolist()) == ([5, 5], [-1, -1], [1, 2, 4, 6])
    assert rows.confidence.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,1,0,0,5", "expected frame,id,left,top,width,height,... got 5 fields"),
        ("1,1,0,0,5,x", "could not convert string to float: 'x'"),
        ("1,1,0,0,5,", "could not convert string to float: ''"),
        ("0,1,0,0,5,5", "frames from 1"),
        ("1.5,1,0,0,5,5", "whole numbers"),
        ("1e300,1,0,0,5,5", "whole numbers"),
        ("inf,1,0,0,5,5", "whole numbers"),
        ("1,1,0,0,5,5,1,1.5,1", "whole numbers"),
        ("1,1,nan,0,5,5", "not finite"),
        ("1,1,0,0,-5,5", "must not be below 0, got -5 x 5"),
        ("1,2,3,4,5,5", "frame 1 has the id 2 a second time, after line 1"),
    ],
)
def test_a_bad_line_is_named(line: str, said: str) -> None:
    with pytest.raises(DataError) as error:
        from_mot(f"1,2,0,0,5,5\n{line}\n", "gt.txt")
    assert str(error.value).startswith("gt.txt: line 2: ")
    assert said in str(error.value)


def test_a_file_that_is_no_text_says_so(tmp_path: Path) -> None:
    (tmp_path / "gt.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is no text"):
        read_mot(tmp_path / "gt.txt")


def test_the_demos_tracks_are_read() -> None:
    counts = {path.stem: len(read_mot(path).ids) for path in sorted(DEMO.glob("*.txt"))}
    assert counts == {"aisle": 183, "hall": 13, "lobby": 1068, "lot_a": 165, "lot_b": 134, "workshop": 71}
