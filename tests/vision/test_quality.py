import imagehash
import numpy as np
import pytest
from PIL import Image, ImageFilter

from pipeline.core.params import UsableParams
from pipeline.vision.quality import luma, measure, perceptual_hash, quality_defect, sharpness, thumbnail

LIMITS = UsableParams(min_side=1, max_side=9999, max_megapixels=100.0, min_luminance=4.0, min_sharpness=1.0)
NOISE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        pytest.param((255, 0, 0), 76, id="red"),  # Rec. 601: 0.299, 0.587, 0.114
        pytest.param((0, 255, 0), 150, id="green"),
        pytest.param((0, 0, 255), 29, id="blue"),
    ],
)
def test_luma_is_rec_601(rgb: tuple[int, int, int], expected: int) -> None:
    assert luma(np.full((4, 4, 3), rgb, np.uint8)).tolist() == [[expected] * 4] * 4


def test_figures_of_a_picture_worked_out_by_hand() -> None:
    grey = np.repeat(np.array([0, 5, 6, 249, 250], np.uint8), 20).reshape(10, 10)
    found = measure(grey)
    assert found.luminance == 102.0  # (0 + 5 + 6 + 249 + 250) / 5
    assert found.contrast == pytest.approx(((102**2 + 97**2 + 96**2 + 147**2 + 148**2) / 5) ** 0.5, abs=1e-6)
    assert (found.under_exposed, found.over_exposed) == (0.4, 0.2)


def test_sharpness_of_one_bright_pixel_worked_out_by_hand() -> None:
    """The Laplacian of a single pixel of 10 is -40 there and 10 at its four neighbours, 0 elsewhere: mean 0."""
    grey = np.zeros((10, 10), np.uint8)
    grey[5, 5] = 10
    assert sharpness(grey) == pytest.approx((40**2 + 4 * 10**2) / 100)


def test_sharpness_falls_with_blur_and_hardly_with_resolution() -> None:
    sharp = Image.fromarray(NOISE).resize((320, 240), Image.Resampling.BICUBIC)
    figures = [sharpness(luma(np.asarray(sharp.filter(ImageFilter.GaussianBlur(r))))) for r in (0, 1, 2, 4, 8)]
    assert figures == sorted(figures, reverse=True)
    larger = sharpness(luma(np.asarray(sharp.resize((1280, 960), Image.Resampling.BICUBIC))))
    assert larger == pytest.approx(figures[0], rel=0.35)  # measured at full size, it would be a hundredth


@pytest.mark.parametrize(
    ("grey", "key"),
    [
        pytest.param(luma(NOISE), "", id="good"),
        pytest.param(luma(NOISE // 128), "too dark", id="night without light"),
        pytest.param(np.full((100, 100), 128, np.uint8), "blurred", id="flat"),
        pytest.param(np.tile(np.arange(200, dtype=np.uint8), (100, 1)), "blurred", id="gradient"),
    ],
)
def test_defects_begin_with_a_stable_key(grey: np.typing.NDArray[np.uint8], key: str) -> None:
    assert quality_defect(measure(grey), LIMITS).partition(":")[0] == key


def test_perceptual_hash_is_the_known_one() -> None:
    assert perceptual_hash(NOISE) == str(imagehash.phash(Image.fromarray(NOISE)))
    assert len(perceptual_hash(NOISE)) == 16


def test_perceptual_hash_survives_resizing() -> None:
    small = np.asarray(Image.fromarray(NOISE).resize((80, 60), Image.Resampling.BOX))
    far = int(perceptual_hash(NOISE), 16) ^ int(perceptual_hash(small), 16)
    assert far.bit_count() <= 6


def test_thumbnail_averages_cells() -> None:
    grey = np.kron(np.arange(1024, dtype=np.uint8).reshape(32, 32), np.ones((3, 5), np.uint8))
    assert np.array_equal(thumbnail(grey), np.arange(1024, dtype=np.uint8).reshape(32, 32))
