import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.core.errors import SightlineError
from pipeline.core.params import TrainParams
from pipeline.modeling.detector import Detector, Target
from pipeline.modeling.loader import Pictures
from pipeline.modeling.loop import Trained, Validate, fit, learning_rate
from pipeline.modeling.nano import Nano
from pipeline.modeling.state import load_tensors, read_state, write_state
from pipeline.modeling.zoo import build

PARAMS: dict[str, Any] = {
    "epochs": 4,
    "minutes": 0.0,
    "batch_size": 8,
    "accumulate": 1,
    "seed": 0,
    "optimizer": {"name": "adamw", "lr": 0.002, "weight_decay": 0.01, "momentum": 0.9},
    "warmup_epochs": 1.0,
    "min_lr_ratio": 0.1,
    "ema_decay": 0.9,
    "clip_norm": 10.0,
    "precision": "fp32",
    "deterministic": False,
    "loop": {"flip": 0.5, "mosaic": 0.3, "scale": 0.2, "translate": 0.1, "colour": 0.1, "close_epochs": 1},
    "validate_every": 2,
    "checkpoint_every": 1,
    "patience": 0,
}


def params(**changes: object) -> TrainParams:
    return TrainParams.parse("train", PARAMS | changes)


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it runs."""


def even(_: Detector) -> dict[str, float]:
    """Every validation gives the same AP."""
    return {"val/AP": 0.5}


def train(pictures: Pictures, state: Path, kill_after: int | None = None, **changes: object) -> Trained:
    torch.manual_seed(0)
    model = build("nano", 2, (64, 64), "none")

    def on_epoch(_: dict[str, float], epoch: int) -> None:
        if epoch == kill_after:
            raise Killed

    return fit(model, pictures, params(**changes), validate=even, on_epoch=on_epoch, state_path=state)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a | b)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupted_training_ends_with_the_same_bytes(
    squares: Pictures, tmp_path: Path, epoch: int, optimizer: str
) -> None:
    changes: dict[str, Any] = {"optimizer": {**PARAMS["optimizer"], "name": optimizer}}
    straight = train(squares, tmp_path / "straight", **changes)
    with pytest.raises(Killed):
        train(squares, tmp_path / "broken", kill_after=epoch, **changes)
    resumed = train(squares, tmp_path / "broken", **changes)
    assert same(straight.last, resumed.last)
    assert same(straight.best, resumed.best)
    assert straight.rows == resumed.rows


def test_the_best_weights_are_those_of_the_best_validation(squares: Pictures, tmp_path: Path) -> None:
    trained = train(squares, tmp_path / "state")
    assert trained.best_epoch == 2  # every validation gives the same AP; the first stays
    assert not same(trained.best, trained.last)
    assert [row["epoch"] for row in trained.rows if "val/AP" in row] == [2, 4]


def test_a_single_high_validation_does_not_decide(squares: Pictures, tmp_path: Path) -> None:
    scores = iter([0.1, 0.9, 0.2, 0.6, 0.7, 0.5])  # means of three: 0.1, 0.5, 0.4, 0.57, 0.5, 0.6
    model = build("nano", 2, (64, 64), "none")
    changes = {"epochs": 6, "validate_every": 1}
    trained = fit_to(model, squares, tmp_path / "state", lambda _: {"val/AP": next(scores)}, **changes)
    assert (trained.best_epoch, trained.best_score) == (6, 0.5)


def test_the_loss_falls(squares: Pictures, tmp_path: Path) -> None:
    rows = train(squares, tmp_path / "state", epochs=8).rows
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]


def test_a_loss_that_is_no_number_stops_with_advice(squares: Pictures, tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match=r"lower train\.optimizer\.lr.*bad-batch"):
        train(squares, tmp_path / "state", optimizer={**PARAMS["optimizer"], "lr": 1e30}, clip_norm=1e30)
    batch = load_tensors(tmp_path / "bad-batch.safetensors")
    assert batch["images"].dtype == torch.uint8
    assert len([name for name in batch if name.startswith("boxes/")]) == len(batch["images"])


OUT_OF_MEMORY = [
    pytest.param(torch.OutOfMemoryError("CUDA out of memory"), id="GPU"),
    pytest.param(RuntimeError("DefaultCPUAllocator: not enough memory"), id="CPU"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
@pytest.mark.parametrize(
    ("fits", "accumulate", "advice"),
    [
        pytest.param(3, 1, r"8 pictures at a time, but 2: set train\.accumulate=4.* train\.batch_size=2", id="two fit"),
        pytest.param(1, 2, r"4 pictures at a time, but 1: set train\.accumulate=8.* train\.batch_size=1", id="parts"),
        pytest.param(0, 1, r"8 pictures at a time, nor one; choose a smaller input", id="none fits"),
    ],
)
def test_a_batch_too_large_for_the_memory_says_what_fits(
    squares: Pictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: RuntimeError,
    fits: int,
    accumulate: int,
    advice: str,
) -> None:
    whole = Nano.loss

    def loss(self: Nano, images: torch.Tensor, targets: list[Target]) -> dict[str, torch.Tensor]:
        if len(images) > fits:
            raise error
        return whole(self, images, targets)

    monkeypatch.setattr(Nano, "loss", loss)
    with pytest.raises(SightlineError, match=advice):
        train(squares, tmp_path / "state", batch_size=8, accumulate=accumulate)


def test_another_error_of_torch_is_not_taken_for_memory(
    squares: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(*_: object) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(Nano, "loss", loss)
    with pytest.raises(RuntimeError, match="a defect of ours"):
        train(squares, tmp_path / "state")


class Brightness(Detector):
    """Learns the pictures' mean level: its loss is a mean over pictures, so parts of a batch add up exactly."""

    def __init__(self) -> None:
        super().__init__(2)
        self.level = torch.nn.Parameter(torch.zeros(1, 1))

    def loss(self, images: torch.Tensor, _: list[Target]) -> dict[str, torch.Tensor]:
        return {"level": (images.float().mean((1, 2, 3)) / 255 - self.level).square().mean()}

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        raise NotImplementedError


@pytest.mark.parametrize("accumulate", [2, 3, 8, 20])
def test_a_batch_in_parts_gives_the_gradients_of_the_whole(squares: Pictures, tmp_path: Path, accumulate: int) -> None:
    whole = fit_to(Brightness(), squares, tmp_path / "whole")
    parts = fit_to(Brightness(), squares, tmp_path / "parts", accumulate=accumulate)
    assert [row["loss"] for row in parts.rows] == pytest.approx([row["loss"] for row in whole.rows], rel=1e-5)
    torch.testing.assert_close(parts.last, whole.last)


def fit_to(model: Detector, pictures: Pictures, state: Path, validate: Validate = even, **changes: object) -> Trained:
    return fit(model, pictures, params(**changes), validate=validate, on_epoch=lambda *_: None, state_path=state)


class Random(Brightness):
    """Draws random numbers while it trains, as Faster R-CNN does."""

    def loss(self, images: torch.Tensor, targets: list[Target]) -> dict[str, torch.Tensor]:
        return {"level": super().loss(images, targets)["level"] * torch.rand(())}


def test_random_numbers_of_a_network_are_those_of_the_epoch(squares: Pictures, tmp_path: Path) -> None:
    torch.manual_seed(1)
    straight = fit_to(Random(), squares, tmp_path / "straight")
    first = fit_to(Random(), squares, tmp_path / "broken", minutes=1e-9)
    assert len(first.rows) == 1
    torch.manual_seed(2)
    resumed = fit_to(Random(), squares, tmp_path / "broken")
    assert [row["loss"] for row in resumed.rows] == [row["loss"] for row in straight.rows]


def test_a_time_limit_ends_the_training_after_an_epoch_that_is_validated(squares: Pictures, tmp_path: Path) -> None:
    trained = train(squares, tmp_path / "state", minutes=1e-9)
    assert [row["epoch"] for row in trained.rows] == [1]
    assert trained.best_epoch == 1
    assert trained.seconds > 0


def test_minutes_before_a_training_was_broken_off_count(squares: Pictures, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(squares, tmp_path / "state", kill_after=1)
    held = read_state(tmp_path / "state")
    write_state(tmp_path / "state", replace(held, seconds=held.seconds + 3600))
    trained = train(squares, tmp_path / "state", minutes=59)
    assert len(trained.rows) == 2
    assert trained.seconds > 3600


def test_it_ends_where_validation_has_not_gained_for_long_enough(squares: Pictures, tmp_path: Path) -> None:
    trained = train(squares, tmp_path / "state", epochs=20, patience=2)  # every validation gives the same AP
    assert [row["epoch"] for row in trained.rows if "val/AP" in row] == [2, 4, 6]
    assert len(trained.rows) == 6


def test_nothing_to_train_on_is_a_clear_error(squares: Pictures, tmp_path: Path) -> None:
    for column in (squares.boxes, squares.labels, squares.ignore):
        column.clear()
    squares.count = 0  # type: ignore[attr-defined]
    with pytest.raises(SightlineError, match="no picture"):
        train(squares, tmp_path / "state")


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        pytest.param(0, 0.0005, id="warm-up begins"),
        pytest.param(3, 0.002, id="warm-up ends"),
        pytest.param(10, 0.0011, id="half the cosine"),
        pytest.param(16, 0.0002, id="end"),
    ],
)
def test_learning_rate(step: int, rate: float) -> None:
    assert learning_rate(params(), step, steps=4) == pytest.approx(rate)


def test_the_bar_tells_loss_ap_speed_and_time_left(
    squares: Pictures, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.core.progress.LOG_SECONDS", 0.0)
    train(squares, tmp_path / "state")
    last = capsys.readouterr().err.strip().rpartition("\r")[2]
    assert re.search(r"epoch 4/4: 100%.*128/128 \[\d\d:\d\d<00:00, .*pictures/s, loss=\d+\.\d+, AP=0\.500", last)
