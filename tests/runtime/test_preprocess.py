import numpy as np
import pytest

from pipeline.runtime.preprocess import FILL, Placement, letterbox, place, scaled


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        pytest.param((768, 432), (320, 192), Placement(320 / 768, 0, 6), id="bars above and below"),
        pytest.param((100, 200), (320, 192), Placement(0.96, 112, 0), id="bars at the sides"),
        pytest.param((320, 192), (320, 192), Placement(1.0, 0, 0), id="as it is"),
        pytest.param((160, 96), (320, 192), Placement(2.0, 0, 0), id="enlarged"),
        pytest.param((300, 100), (64, 64), Placement(64 / 300, 0, 21), id="odd bar: the smaller part above"),
        pytest.param((16384, 32), (320, 192), Placement(320 / 16384, 0, 95), id="a sliver"),
    ],
)
def test_place(source: tuple[int, int], target: tuple[int, int], expected: Placement) -> None:
    assert place(source, target) == expected


def test_at_least_one_pixel_is_left() -> None:
    assert scaled((1000, 1), 0.1) == (100, 1)


@pytest.mark.parametrize("size", [(768, 432), (100, 200), (33, 500), (320, 192), (5000, 7)])
def test_letterbox_has_grey_bars_around_the_whole_picture(size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), (250, 10, 60), np.uint8)
    canvas, placement = letterbox(image, (320, 192))
    assert canvas.shape == (192, 320, 3)
    assert canvas.dtype == np.uint8
    width, height = scaled(size, placement.scale)
    inside = np.zeros((192, 320), np.bool_)
    inside[placement.top : placement.top + height, placement.left : placement.left + width] = True
    assert (canvas[inside] == (250, 10, 60)).all()
    assert (canvas[~inside] == FILL).all()
    assert width == 320 or height == 192


def test_a_picture_that_fits_is_not_touched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (192, 320, 3), np.uint8)
    assert np.array_equal(letterbox(image, (320, 192))[0], image)


def test_boxes_lie_on_their_objects() -> None:
    image = np.zeros((432, 768, 3), np.uint8)
    image[96:240, 480:600] = 255
    canvas, placement = letterbox(image, (320, 192))
    y, x = np.nonzero(canvas[..., 0] > 200)
    (box,) = placement.to_input(np.array([[480, 96, 600, 240]], float))
    assert np.allclose(box, [200, 46, 250, 106])  # by hand: 480 * 320/768 = 200, 96 * 320/768 + 6 = 46 ...
    assert np.allclose(box, [x.min(), y.min(), x.max() + 1, y.max() + 1], atol=1)


@pytest.mark.parametrize("size", [(768, 432), (100, 200), (1920, 1080)])
def test_to_source_undoes_to_input(size: tuple[int, int]) -> None:
    placement = place(size, (320, 192))
    boxes = np.array([[0, 0, *size], [10.25, 20.5, 30, 40]], np.float32)
    assert np.allclose(placement.to_source(placement.to_input(boxes), *size), boxes, atol=1e-3)


def test_to_source_clips_to_the_picture() -> None:
    placement = place((768, 432), (320, 192))
    (box,) = placement.to_source(np.array([[-5, -5, 330, 200]], np.float32), 768, 432)
    assert box.tolist() == [0, 0, 768, 432]


def test_no_boxes() -> None:
    placement = place((768, 432), (320, 192))
    assert placement.to_input(np.zeros((0, 4))).shape == (0, 4)
    assert placement.to_source(np.zeros((0, 4)), 768, 432).shape == (0, 4)
