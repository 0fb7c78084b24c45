"""Against the published formulas, where one can be worked out by hand; the rest is in test_corruptions."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.vision import imagenet_c
from pipeline.vision.imagenet_c import COMMON

GREY: NDArray[np.uint8] = np.full((256, 256, 3), 128, np.uint8)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_they_are_the_fifteen() -> None:
    assert len(COMMON) == 15


@pytest.mark.parametrize(("severity", "deviation"), [(1, 0.08), (3, 0.18)])
def test_gaussian_noise_has_the_published_deviation(severity: int, deviation: float) -> None:
    noisy = imagenet_c.gaussian_noise(GREY, severity, rng()).astype(float)
    assert noisy.mean() == pytest.approx(128, abs=0.5)
    assert noisy.std() == pytest.approx(255 * deviation, rel=0.02)


@pytest.mark.parametrize(("severity", "photons"), [(1, 60), (3, 12)])
def test_shot_noise_is_poissons(severity: int, photons: int) -> None:
    """The variance of a count is its mean: of 128 / 255 * photons."""
    noisy = imagenet_c.shot_noise(GREY, severity, rng()).astype(float)
    assert noisy.mean() == pytest.approx(128, abs=1.0)
    clipped = 0.97 if photons == 12 else 1.0  # levels above white are cut off
    assert noisy.std() == pytest.approx(clipped * 255 * np.sqrt(128 / 255 / photons), rel=0.03)


def test_a_black_picture_has_no_photons() -> None:
    assert not imagenet_c.shot_noise(np.zeros_like(GREY), 5, rng()).any()


@pytest.mark.parametrize(("severity", "share"), [(1, 0.03), (5, 0.27)])
def test_impulse_noise_is_half_salt_half_pepper(severity: int, share: float) -> None:
    noisy = imagenet_c.impulse_noise(GREY, severity, rng())
    assert [(noisy == level).mean() for level in (0, 255)] == pytest.approx([share / 2] * 2, rel=0.05)


@pytest.mark.parametrize(
    ("color", "expected"),
    [
        pytest.param((100, 50, 0), (176, 88, 0), id="value 100 -> 176.5, the others by the same ratio"),
        pytest.param((0, 0, 0), (76, 76, 76), id="black becomes grey"),
        pytest.param((250, 125, 0), (255, 128, 0), id="value ends at white"),
    ],
)
def test_brightness_raises_the_value_alone(color: tuple[int, int, int], expected: tuple[int, int, int]) -> None:
    image = np.full((2, 2, 3), color, np.uint8)
    assert imagenet_c.brightness(image, 3, rng())[0, 0].tolist() == pytest.approx(expected, abs=1)


def test_contrast_keeps_the_mean_and_a_tenth_of_the_range() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[0] = 200
    assert np.unique(imagenet_c.contrast(image, 4, rng())).tolist() == [90, 110]


def test_pixelate_repeats_blocks() -> None:
    image = rng().integers(0, 256, (224, 224, 3), np.uint8)
    blocks = imagenet_c.pixelate(image, 5, rng()).reshape(56, 4, 56, 4, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert blocks[0, 0, 0, 0].tolist() == pytest.approx(image[:4, :4].mean(axis=(0, 1)).tolist(), abs=1)


def test_blur_takes_no_light_and_stays_in_place() -> None:
    image = np.zeros((224, 224, 3), np.uint8)
    image[92:132, 92:132] = 200
    for blur in (imagenet_c.defocus_blur, imagenet_c.motion_blur, imagenet_c.glass_blur):
        out = blur(image, 3, rng()).astype(float)[..., 0]
        assert out.sum() == pytest.approx(image[..., 0].sum(), rel=0.03)
        assert [(out.sum(axis=a) * np.arange(224)).sum() / out.sum() for a in (0, 1)] == pytest.approx(
            [111.5] * 2, abs=0.5
        )


def test_fog_never_outshines_the_picture() -> None:
    image = np.full((64, 64, 3), 120, np.uint8)
    assert imagenet_c.fog(image, 5, rng()).max() <= 120


def test_snow_and_frost_whiten() -> None:
    dark = np.full((64, 64, 3), 30, np.uint8)
    for whiten in (imagenet_c.snow, imagenet_c.frost):
        assert whiten(dark, 5, rng()).mean() > 60
