from fractions import Fraction

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.runtime.frames import LazyFrame, Ticks

RANDOM = np.random.default_rng(5)


def frame_of(pixels: NDArray[np.uint8], form: str) -> LazyFrame:
    return LazyFrame(3, 1.5, av.VideoFrame.from_ndarray(pixels, format=form))


def planar(luma: NDArray[np.uint8], form: str = "yuv420p") -> LazyFrame:
    """A frame with this Y plane and some colour."""
    chroma = {"yuv420p": 2, "nv12": 2, "yuvj420p": 2}[form]
    return frame_of(
        np.vstack([luma, RANDOM.integers(0, 256, (luma.shape[0] // chroma, luma.shape[1]), np.uint8)]), form
    )


def means(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.float64]:
    height, width = (side // factor * factor for side in pixels.shape)
    blocks = pixels[:height, :width].reshape(height // factor, factor, width // factor, factor)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float64)


@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p", "nv12"])
@pytest.mark.parametrize("factor", [1, 2, 5])
def test_luma_is_the_mean_of_the_y_plane_whatever_the_colour(form: str, factor: int) -> None:
    luma = RANDOM.integers(0, 256, (40, 60), np.uint8)  # 60: rows of the plane are padded
    small = planar(luma, form).luma(60 // factor)
    assert small.shape == (40 // factor, 60 // factor)
    assert small.dtype == np.uint8
    assert np.abs(small - means(luma, factor)).max() <= 1


def test_luma_keeps_its_place_where_the_factor_is_no_whole_number() -> None:
    """768 to 160 pixels is 4.8: a bright square stays where it was, to a pixel."""
    luma = np.full((432, 768), 20, np.uint8)
    luma[96:192, 384:480] = 220
    small = planar(luma).luma(160)
    rows, columns = np.nonzero(small > 120)
    assert small.shape == (90, 160)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == pytest.approx((20, 40, 80, 100), abs=1)
    assert small[30, 90] == 220


def test_luma_of_a_large_picture_is_near_the_mean_of_the_areas() -> None:
    smooth = np.outer(np.sin(np.linspace(0, 9, 1080)), np.cos(np.linspace(0, 7, 1920))) * 100 + 120
    luma = smooth.astype(np.uint8)
    assert np.abs(planar(luma).luma(160) - means(luma, 12)).max() <= 3


def test_luma_is_never_enlarged() -> None:
    assert planar(np.zeros((40, 60), np.uint8)).luma(160).shape == (40, 60)


@pytest.mark.parametrize(("form", "channels"), [("rgb24", 3), ("rgba", 4)])
def test_luma_of_formats_without_a_y_plane_is_grey(form: str, channels: int) -> None:
    shot = frame_of(np.full((40, 60, channels), 255, np.uint8), form)
    assert shot.luma(30).shape == (20, 30)
    assert shot.luma(30).min() >= 235


def test_luma_of_ten_bits_is_eight_bits() -> None:
    ten = av.VideoFrame.from_ndarray(np.full((40, 60), 200, np.uint8), format="gray").reformat(format="yuv420p10le")
    assert np.abs(LazyFrame(0, 0.0, ten).luma(30).astype(int) - 200).max() <= 16  # limited range against full


def test_rgb_is_what_was_put_in() -> None:
    pixels = RANDOM.integers(0, 256, (40, 60, 3), np.uint8)
    shot = frame_of(pixels, "rgb24")
    assert np.array_equal(shot.rgb(), pixels)
    assert (shot.index, shot.timestamp_s, shot.size) == (3, 1.5, (60, 40))


def test_a_format_that_cannot_be_converted_says_so() -> None:
    odd = LazyFrame(0, 0.0, av.VideoFrame(64, 48, "rgb4"))  # four bits a pixel, which FFmpeg writes and cannot read
    with pytest.raises(DataError, match="a frame of format rgb4 cannot be converted"):
        odd.rgb()
    with pytest.raises(DataError, match="a frame of format rgb4 cannot be converted"):
        odd.luma(32)


@pytest.mark.parametrize(
    ("fps", "moments", "taken"),
    [
        pytest.param(0, [0, 0.1, 0.1, 5], [True] * 4, id="0 takes all"),
        pytest.param(2, [0, 0.4, 0.5, 0.9, 1.0], [True, False, True, False, True], id="on the tick"),
        pytest.param(2, [0, 0.7, 0.99, 1.0], [True, True, False, True], id="the first after the tick"),
        pytest.param(2, [0, 10, 10.1, 10.6], [True, True, False, True], id="a pause is not made up for"),
        pytest.param(10, [0, float(Fraction(1, 10)) - 1e-9, 0.2], [True] * 3, id="as good as on the tick"),
    ],
)
def test_ticks(fps: float, moments: list[float], taken: list[bool]) -> None:
    ticks = Ticks(fps)
    assert [ticks.due(moment) for moment in moments] == taken
