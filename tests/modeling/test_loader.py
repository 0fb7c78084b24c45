from typing import Any

import numpy as np
import pytest
import torch

from pipeline.core.errors import SightlineError
from pipeline.core.params import LoopAugmentParams
from pipeline.modeling import ranks
from pipeline.modeling.loader import Pictures, Sample, _flip, _warp, batches, draw, repeat_factors, sampled, shares

PLAIN: dict[str, Any] = {
    "flip": 0.0, "mosaic": 0.0, "scale": 0.0, "translate": 0.0, "colour": 0.0, "close_epochs": 0,
}  # fmt: skip


def params(**changes: float) -> LoopAugmentParams:
    return LoopAugmentParams(**(PLAIN | changes))


def sample() -> Sample:
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 10:30] = 255
    box = np.array([[10, 10, 30, 20]], np.float32)
    return Sample(image, box, np.array([1]), np.array([False]))


def lit(image: np.ndarray[Any, np.dtype[np.uint8]]) -> list[int]:
    y, x = np.nonzero(image[..., 0] > 200)
    return [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]


def test_flip_moves_pixels_and_boxes_alike() -> None:
    flipped = _flip(sample())
    assert flipped.boxes[0].tolist() == [30, 10, 50, 20] == lit(flipped.image)


@pytest.mark.parametrize(
    ("scale", "shift", "box"),
    [
        pytest.param(1.0, (5, -3), [15, 7, 35, 17], id="shift"),
        pytest.param(2.0, (0, 0), [20, 20, 60, 40], id="zoom"),
    ],
)
def test_warp_moves_pixels_and_boxes_alike(scale: float, shift: tuple[float, float], box: list[int]) -> None:
    moved = _warp(sample(), scale, np.array(shift, float), (60, 40))
    assert moved.boxes[0].tolist() == box
    assert np.abs(np.array(lit(moved.image)) - box).max() <= 1  # resampling softens the edge


@pytest.mark.parametrize(
    ("shift", "kept", "ignored"),
    [
        pytest.param((-20, 0), 1, [False], id="half remains"),
        pytest.param((-26, 0), 1, [True], id="a sliver is ignored"),
        pytest.param((-40, 0), 0, [], id="gone"),
    ],
)
def test_boxes_cut_by_the_edge(shift: tuple[float, float], kept: int, ignored: list[bool]) -> None:
    moved = _warp(sample(), 1.0, np.array(shift, float), (60, 40))
    assert len(moved.boxes) == kept
    assert moved.ignore.tolist() == ignored


def test_mosaic_keeps_boxes_on_their_objects(squares: Pictures) -> None:
    for index in range(8):
        drawn = draw(squares, index, params(mosaic=1.0, scale=0.2), np.random.default_rng(index))
        for box, label, ignore in zip(drawn.boxes, drawn.labels, drawn.ignore, strict=True):
            x1, y1, x2, y2 = box.round().astype(int)
            inner = drawn.image[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1]
            strong, weak = (0, 2) if label else (2, 0)
            if not ignore and inner.size:
                assert inner[..., strong].mean() > inner[..., weak].mean() + 100


def test_an_epoch_is_a_function_of_seed_and_epoch_alone(squares: Pictures) -> None:
    p = params(flip=0.5, mosaic=0.5, scale=0.3, translate=0.1, colour=0.2)

    def epoch(number: int) -> torch.Tensor:
        return torch.cat([i for i, _ in batches(squares, p, batch_size=8, seed=3, epoch=number, plain=False)])

    assert torch.equal(epoch(1), epoch(1))
    assert not torch.equal(epoch(1), epoch(2))


def test_pictures_of_one_class_come_once_an_epoch(squares: Pictures) -> None:
    for labels in squares.labels:
        labels[:] = 0
    seen = torch.cat([i for i, _ in batches(squares, params(), batch_size=8, seed=0, epoch=0, plain=True)])
    assert len({picture.numpy().tobytes() for picture in seen}) == 32


def test_pictures_of_a_rare_class_come_more_often(squares: Pictures) -> None:
    for i, labels in enumerate(squares.labels):
        labels[:] = int(i < 2)  # class 1 in 2 of 32 pictures: sqrt(16) against sqrt(32 / 30)
    factors = repeat_factors(squares)
    assert factors[0] / factors[2] == pytest.approx((16 / (32 / 30)) ** 0.5)
    counts = np.zeros(32)
    for epoch in range(200):
        drawn = sampled(factors, np.random.default_rng(epoch))
        assert len(drawn) == 32
        counts += np.bincount(drawn, minlength=32)
    assert counts / 200 == pytest.approx(factors, rel=0.1)


def test_a_set_smaller_than_a_batch_is_one_batch(squares: Pictures) -> None:
    (only,) = batches(squares, params(), batch_size=100, seed=0, epoch=0, plain=True)
    assert len(only[1]) == 32


@pytest.mark.parametrize(
    ("size", "count", "dealt"),
    [
        pytest.param(8, 1, [[0, 1, 2, 3, 4, 5, 6, 7]], id="alone"),
        pytest.param(6, 2, [[0, 1, 2], [3, 4, 5]], id="two"),
    ],
)
def test_a_batch_is_dealt_out_in_equal_shares(
    monkeypatch: pytest.MonkeyPatch, size: int, count: int, dealt: list[list[int]]
) -> None:
    monkeypatch.setattr(ranks, "count", lambda: count)
    for rank, places in enumerate(dealt):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        assert list(shares(size)) == places


def test_a_batch_that_cannot_be_shared_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "count", lambda: 3)
    with pytest.raises(SightlineError, match=r"batch of 16 .* shared equally by 3 processes.*train\.batch_size"):
        shares(16)
