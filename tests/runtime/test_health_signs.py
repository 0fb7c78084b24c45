import cv2
import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.runtime.health_signs import Comparison, make_reference
from tests.camera_view import Luma, noisy, view, walked

VIEW = view()


def usual() -> list[Luma]:
    return [noisy(VIEW, seed) for seed in range(5)]


def test_a_reference_leaves_out_who_walked_by() -> None:
    reference = make_reference([noisy(walked(VIEW, 30 * k), k) for k in range(9)])
    assert np.abs(reference.picture.astype(int) - VIEW).mean() < 2


def test_a_reference_allows_for_exposures_that_differ() -> None:
    frames = [np.asarray(noisy(VIEW, k) * gain, np.uint8) for k, gain in enumerate((1, 0.7, 1, 0.8, 1))]
    assert make_reference(frames).stable.mean() > 0.98


@pytest.mark.parametrize(
    ("lumas", "words"),
    [
        pytest.param([], "at least one", id="none"),
        pytest.param([np.zeros((90, 160), np.uint8), np.zeros((90, 120), np.uint8)], "of one shape", id="two shapes"),
        pytest.param([np.zeros((1, 1), np.uint8)], "at least 64", id="one pixel"),
        pytest.param([np.zeros((90, 160, 3), np.uint8)], r"pictures \(h, w\)", id="colour"),
    ],
)
def test_what_is_no_reference(lumas: list[Luma], words: str) -> None:
    with pytest.raises(DataError, match=words):
        make_reference(lumas)


def test_an_untouched_look_has_nothing_to_show() -> None:
    signs = Comparison(make_reference(usual())).measure(noisy(VIEW, 9))
    assert signs.agree > 0.95
    assert signs.sharp == pytest.approx(1, abs=0.1)
    assert (signs.lost, signs.flat, signs.smeared) == (0, 0, 0)
    assert signs.lines < 0.002
    assert signs.shift < 0.002


def test_blur_is_seen_in_sharpness_alone() -> None:
    signs = Comparison(make_reference(usual())).measure(np.asarray(cv2.GaussianBlur(VIEW, (0, 0), 2.0), np.uint8))
    assert signs.sharp < 0.6
    assert signs.lost < 0.05
    assert signs.shift < 0.005


def test_contrast_that_all_lose_is_no_blur_and_no_dirt() -> None:
    signs = Comparison(make_reference(usual())).measure(np.asarray(VIEW * 0.3 + 80, np.uint8))
    assert signs.sharp == pytest.approx(1, abs=0.15)
    assert signs.smeared < 0.02
    assert signs.flat > 0.9


def test_a_blank_reference_says_nothing() -> None:
    blank = np.full((90, 160), 100, np.uint8)
    signs = Comparison(make_reference([blank])).measure(blank)
    assert (signs.agree, signs.lost, signs.flat, signs.sharp) == (0, 0, 0, 1)
