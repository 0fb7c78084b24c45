import io

import numpy as np
import pytest
from PIL import Image

from pipeline.vision.draw import BACKGROUND, MARGIN, STRIP, caption, draw_boxes, encode_png, heat, sheet

RED = (255, 0, 0)


def grey(height: int, width: int, value: int = 100) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((height, width, 3), value, np.uint8)


def test_boxes_are_drawn_on_a_copy_where_they_are() -> None:
    image = grey(100, 120)
    drawn = draw_boxes(image, [[20, 30, 60, 80]], [""], RED)
    assert (image == 100).all()
    y, x = np.nonzero(drawn[..., 0] == 255)
    assert (x.min(), y.min(), x.max(), y.max()) == (20, 30, 60, 80)
    assert (drawn[31:80, 21:60] == 100).all()  # nothing within


def test_no_boxes_leave_the_picture_as_it_is() -> None:
    assert np.array_equal(draw_boxes(grey(20, 20), np.zeros((0, 4), np.float32), [], RED), grey(20, 20))


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([50, 50, 90, 90], id="room above"),
        pytest.param([50, 0, 90, 90], id="at the top"),
        pytest.param([115, 50, 119, 90], id="at the right edge"),
        pytest.param([-50, -50, 300, 300], id="past every edge"),
    ],
)
def test_captions_stay_in_the_picture(box: list[int]) -> None:
    plain, captioned = (draw_boxes(grey(100, 120), [box], [text], RED) for text in ("", "person"))
    assert (plain != captioned).any(axis=2).sum() > 100


def test_a_caption_a_box() -> None:
    with pytest.raises(ValueError, match="zip"):
        draw_boxes(grey(20, 20), [[1, 1, 5, 5]], [], RED)


def test_caption_below_the_picture() -> None:
    captioned = caption(grey(50, 200), "low_light")
    assert captioned.shape == (50 + STRIP, 200, 3)
    assert (captioned[:50] == 100).all()
    assert captioned[50:].max() > 200


def test_sheet_places_pictures_row_by_row() -> None:
    whole = sheet([grey(30, 40, 10), grey(60, 80, 20), grey(45, 40, 30)], columns=2, width=2 * 40 + 3 * MARGIN)
    assert whole.shape == (30 + 45 + 3 * MARGIN, 92, 3)
    assert whole[MARGIN, MARGIN].tolist() == [10] * 3
    assert whole[MARGIN + 29, 91 - MARGIN].tolist() == [20] * 3
    assert whole[-1 - MARGIN, MARGIN].tolist() == [30] * 3
    assert whole[-1 - MARGIN, -1 - MARGIN].tolist() == [BACKGROUND] * 3


def test_a_sheet_of_nothing() -> None:
    assert sheet([], columns=3, width=100).shape == (MARGIN, 100, 3)


def test_png_keeps_every_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(image)))), image)


def test_heat_is_red_where_the_map_is_largest_and_blue_where_it_is_least() -> None:
    values = np.zeros((2, 4))
    values[0, 0] = 3.0
    drawn = heat(grey(40, 80), values).astype(int)
    assert drawn[5, 10, 0] > drawn[5, 10, 2] + 30
    assert drawn[35, 70, 2] > drawn[35, 70, 0] + 30
    assert (heat(grey(4, 4), np.zeros((1, 1))) == heat(grey(4, 4), np.zeros((1, 1)))[0, 0]).all()  # nothing anywhere
