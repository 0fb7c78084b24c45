import numpy as np
import pytest

from pipeline.vision.effects import blend, cover, disk, fractal, lines, saturated, scale_of, smeared


@pytest.mark.parametrize(
    ("shape", "scale"),
    [
        pytest.param((224, 400, 3), 1.0, id="reference"),
        pytest.param((448, 448, 3), 2.0, id="twice"),
        pytest.param((20, 900, 3), 1.0, id="a kernel is never smaller than published"),
    ],
)
def test_scale_is_that_of_the_short_side(shape: tuple[int, ...], scale: float) -> None:
    assert scale_of(shape) == scale


def test_levels_stay_within_a_byte() -> None:
    values = np.array([[-3.0, 0.4, 0.6, 254.6, 300.0]], np.float32)
    assert saturated(values).tolist() == [[0, 0, 1, 255, 255]]


def test_blend_and_cover() -> None:
    image = np.full((1, 1, 3), 100, np.uint8)
    assert blend(image, 0.5, np.full_like(image, 60), 0.5, 10).ravel().tolist() == [90, 90, 90]
    assert cover(image, np.array([[0.25]], np.float32), (200, 100, 0)).ravel().tolist() == [125, 100, 75]


def test_a_disk_is_flat_inside_and_nothing_outside() -> None:
    kernel = disk(3, 0.1)
    assert kernel.sum() == pytest.approx(1)
    assert np.count_nonzero(kernel > 0.01) == 29  # whole points within 3 of the origin: Gauss's circle problem
    assert kernel[4, 4] == pytest.approx(1 / 29, rel=1e-3)


@pytest.mark.parametrize(("degrees", "axis"), [pytest.param(0, 1, id="across"), pytest.param(90, 0, id="down")])
def test_a_motion_is_uniform_centred_and_as_long_as_asked(degrees: float, axis: int) -> None:
    point = np.zeros((41, 41), np.float32)
    point[20, 20] = 1
    drawn = smeared(point, 12, degrees).sum(axis=1 - axis)
    at = np.arange(41)
    centre = (drawn * at).sum()
    assert drawn.sum() == pytest.approx(1)
    assert centre == pytest.approx(20, abs=0.05)
    assert np.sqrt((drawn * (at - centre) ** 2).sum()) == pytest.approx(12 / np.sqrt(12), rel=0.1)  # of a uniform


def test_clouds_fill_the_range() -> None:
    clouds = fractal((30, 50, 3), 2, np.random.default_rng(0))
    assert clouds.shape == (30, 50)
    assert (clouds.min(), clouds.max()) == (0, pytest.approx(1))


def test_a_faster_decay_is_smoother() -> None:
    rough, smooth = (fractal((128, 128), decay, np.random.default_rng(0)) for decay in (1.4, 3.0))
    assert np.abs(np.diff(rough)).mean() > 2 * np.abs(np.diff(smooth)).mean()


def test_more_lines_cover_more_and_none_covers_nothing() -> None:
    def covered(count: float) -> float:
        return float(lines((224, 224, 3), count, 10, 90, 1, np.random.default_rng(0)).mean())

    assert covered(0) == 0
    assert 0 < covered(20) < covered(200)
