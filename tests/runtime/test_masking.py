"""Masked is gone: what the pixels still say is a few coarse colours, whatever was there."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.runtime.masking import CELLS, ENLARGE, LEVELS, masked

Image = NDArray[np.uint8]
BOX = (40.0, 20.0, 90.0, 160.0)


def noise(seed: int, height: int = 200, width: int = 150) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def enlarged(box: tuple[float, ...], width: int = 150, height: int = 200) -> tuple[slice, slice]:
    x, y = (box[2] - box[0]) * ENLARGE, (box[3] - box[1]) * ENLARGE
    return (
        slice(max(0, int(box[1] - y)), min(height, int(np.ceil(box[3] + y)))),
        slice(max(0, int(box[0] - x)), min(width, int(np.ceil(box[2] + x)))),
    )


def test_nothing_of_the_fine_structure_is_left() -> None:
    picture = noise(0)
    inside = enlarged(BOX)
    before, after = picture[inside].astype(float), masked(picture, [BOX])[inside].astype(float)
    fine = before - before.mean((0, 1)), after - after.mean((0, 1))
    likeness = (fine[0] * fine[1]).sum() / np.sqrt((fine[0] ** 2).sum() * (fine[1] ** 2).sum() + 1e-9)
    assert abs(likeness) < 0.1
    assert after.std((0, 1)).max() < before.std((0, 1)).min() / 4


def test_two_people_with_the_same_coarse_colours_give_the_same_bytes() -> None:
    """So nobody can tell from the file which of them it was: the mirror image of every cell leaves its mean."""
    height, width = 120, 40
    box = (0.0, 0.0, float(width), float(height))
    one = noise(3, height, width)
    cell = height // CELLS
    other = one.reshape(CELLS, cell, width // cell, cell, 3)[:, ::-1, :, ::-1].reshape(height, width, 3)
    assert not np.array_equal(one, other)
    assert np.array_equal(masked(one, [box]), masked(other, [box]))


def test_a_box_says_no_more_than_its_coarse_cells_can() -> None:
    """The colours of the blurred cells span no more dimensions than there are cells."""
    height, width = 120, 40
    outs = [masked(noise(seed, height, width), [(0, 0, width, height)])[..., 0].ravel() for seed in range(60)]
    centred = np.array(outs, float) - np.mean(outs, 0)
    strength = np.linalg.svd(centred, compute_uv=False)
    assert (strength**2)[: CELLS * 2].sum() / (strength**2).sum() > 0.98
    assert LEVELS <= 16


def test_all_else_stays_as_it_was() -> None:
    picture = noise(1)
    out = masked(picture, [BOX])
    outside = np.ones(picture.shape[:2], bool)
    outside[enlarged(BOX)] = False
    assert np.array_equal(out[outside], picture[outside])
    assert np.array_equal(picture, noise(1)), "the given picture is not touched"
    assert not (out[enlarged(BOX)] == picture[enlarged(BOX)]).all(-1).mean() > 0.01


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((-50, -50, 500, 500), id="larger than the picture"),
        pytest.param((140, 190, 150, 200), id="in the corner"),
        pytest.param((10, 10, 11, 11), id="one pixel"),
        pytest.param((10, 10, 10, 150), id="no width"),
        pytest.param((300, 300, 400, 400), id="outside"),
        pytest.param((60, 60, 20, 20), id="turned round"),
    ],
)
def test_odd_boxes_do_no_harm(box: tuple[float, ...]) -> None:
    out = masked(noise(2), [box])
    assert out.shape == (200, 150, 3)
    assert out.dtype == np.uint8
