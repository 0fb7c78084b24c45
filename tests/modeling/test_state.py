from pathlib import Path

import pytest
import torch

from pipeline.core.errors import DataError
from pipeline.modeling.state import State, load_tensors, read_state, save_tensors, write_state

TENSORS = {"a": torch.arange(6.0).reshape(1, 2, 3, 1), "b": torch.tensor(3)}
STATE = State(2, [{"epoch": 1, "loss": 0.5}], 0.25, 1, 2.5, TENSORS, TENSORS, TENSORS, {"0.step": torch.tensor(4.0)})


def test_state_round_trip(tmp_path: Path) -> None:
    write_state(tmp_path / "state", STATE)
    back = read_state(tmp_path / "state")
    assert (back.epoch, back.rows, back.best_score, back.best_epoch) == (2, [{"epoch": 1, "loss": 0.5}], 0.25, 1)
    for part in ("weights", "average", "best", "optimizer"):
        mine, theirs = getattr(STATE, part), getattr(back, part)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[k], theirs[k]) for k in mine)


def test_same_values_same_bytes_whatever_the_layout(tmp_path: Path) -> None:
    save_tensors(tmp_path / "one", TENSORS)
    save_tensors(tmp_path / "two", {k: TENSORS[k] for k in ("b", "a")})
    last = {"a": TENSORS["a"].contiguous(memory_format=torch.channels_last), "b": TENSORS["b"]}
    save_tensors(tmp_path / "three", last)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == (tmp_path / "three").read_bytes()


@pytest.mark.parametrize("data", [pytest.param(b"", id="empty"), pytest.param(b"\xff" * 64, id="garbage")])
def test_a_broken_file_is_a_clear_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "state").write_bytes(data)
    with pytest.raises(DataError, match="is broken"):
        read_state(tmp_path / "state")


def test_a_missing_file_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro train"):
        load_tensors(tmp_path / "best.safetensors")


def test_weights_without_a_state_are_refused(tmp_path: Path) -> None:
    save_tensors(tmp_path / "state", {"weights/a": TENSORS["a"]})
    with pytest.raises(DataError, match="no training state"):
        read_state(tmp_path / "state")
