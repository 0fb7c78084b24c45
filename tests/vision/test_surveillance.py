import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.vision import surveillance

GREY: NDArray[np.uint8] = np.full((224, 224, 3), 128, np.uint8)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_low_light_is_darker_by_its_gain_and_noisier() -> None:
    dark = surveillance.low_light(GREY, 3, rng()).astype(float)
    assert dark.mean() == pytest.approx(0.33 * 128, abs=0.5)
    assert dark.std() == pytest.approx(np.sqrt(1.2 * 0.33 * 128 + 36), rel=0.03)


def test_infrared_has_no_colour_and_dark_corners() -> None:
    image = rng().integers(90, 160, (224, 224, 3), np.uint8)
    seen = surveillance.infrared(image, 3, rng())
    assert (seen[..., 0] == seen[..., 1]).all()
    assert (seen[..., 0] == seen[..., 2]).all()
    assert seen[:20, :20].mean() < 0.3 * seen[100:120, 100:120].mean()


def test_headlights_saturate_where_they_are_and_add_everywhere() -> None:
    lit = surveillance.headlight_glare(GREY, 3, rng())
    assert (lit.min(axis=2) >= 250).any()
    assert (lit.astype(int) >= GREY).all()
    assert lit.min() < 180


def test_rain_and_snow_are_streaks_on_a_veil() -> None:
    black = np.zeros_like(GREY)
    for fall, veil in ((surveillance.rain_streaks, 30), (surveillance.snow_streaks, 43)):
        out = fall(black, 3, rng())
        assert np.median(out) == pytest.approx(veil, abs=1)  # share of the veil times its level
        assert 0.005 < (out > veil + 40).mean() < 0.3


def test_dirt_darkens_a_part() -> None:
    white = np.full_like(GREY, 250)
    dirty = surveillance.lens_dirt(white, 3, rng())
    assert 0.1 < (dirty.max(axis=2) < 220).mean() < 0.5


def test_a_web_is_thin_and_bright() -> None:
    black = np.zeros_like(GREY)
    web = surveillance.spider_web(black, 1, rng())
    assert 0.005 < (web.max(axis=2) > 40).mean() < 0.2
    assert web.max() <= 215


@pytest.mark.parametrize("size", [(432, 768), (33, 47), (1, 1)])
def test_the_encoder_takes_every_size_and_gives_the_same_bytes(size: tuple[int, int]) -> None:
    image = rng().integers(0, 256, (*size, 3), np.uint8)
    out = surveillance.stream_compression(image, 4, rng())
    assert out.shape == image.shape
    assert (out == surveillance.stream_compression(image, 4, rng())).all()


def test_the_encoder_keeps_a_flat_picture() -> None:
    assert np.abs(surveillance.stream_compression(GREY, 5, rng()).astype(int) - 128).max() <= 3
