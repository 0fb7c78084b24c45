import cv2
import numpy as np

from pipeline.vision.before_after import COLOR, before_after, changed
from pipeline.vision.draw import MARGIN, STRIP, Picture


def scene() -> Picture:
    rng = np.random.default_rng(0)
    picture = np.full((270, 480, 3), 110, np.uint8)
    for _ in range(60):
        x, y, w, h = (int(rng.integers(0, top)) for top in (480, 270, 60, 60))
        cv2.rectangle(picture, (x, y), (x + w, y + h), (int(rng.integers(60, 190)),) * 3, cv2.FILLED)
    return picture


def outlined(panel: Picture) -> int:
    return int((panel == COLOR).all(axis=2).sum())


def test_both_pictures_stand_side_by_side_and_the_new_thing_is_outlined() -> None:
    now = scene()
    now[100:200, 300:400] = 30
    both = before_after(scene(), now)
    assert both.shape == (270 + STRIP, 2 * 480 + MARGIN, 3)
    assert np.array_equal(both[:270, :480], scene())
    assert outlined(both[:270, :480]) == 0
    assert np.array_equal(both[130:170, 480 + MARGIN + 330 : 480 + MARGIN + 370], now[130:170, 330:370])
    assert both[20:60, 480 + MARGIN + 20 : 480 + MARGIN + 60].mean() < 0.65 * now[20:60, 20:60].mean()  # dimmed
    marks = np.argwhere((both[:270, 480 + MARGIN :] == COLOR).all(axis=2))
    assert np.abs(marks.min(axis=0) - (100, 300)).max() <= 32  # a tile, and a line's width
    assert np.abs(marks.max(axis=0) - (200, 400)).max() <= 32


def test_where_nothing_has_changed_nothing_is_outlined_whatever_the_exposure() -> None:
    darker = np.asarray(scene() * 0.8, np.uint8)
    assert not changed(scene(), darker).any()
    assert outlined(before_after(scene(), darker)) == 0


def test_detail_that_has_gone_is_a_change() -> None:
    blurred = np.asarray(cv2.GaussianBlur(scene(), (0, 0), 6), np.uint8)
    assert changed(scene(), blurred).mean() > 0.3


def test_darkness_is_a_change_all_over() -> None:
    assert changed(scene(), np.asarray(scene() * 0.2, np.uint8)).all()


def test_pictures_of_another_size_are_scaled() -> None:
    half = np.asarray(cv2.resize(scene(), (240, 135), interpolation=cv2.INTER_AREA), np.uint8)
    assert before_after(scene(), half).shape == (270 + STRIP, 2 * 480 + MARGIN, 3)
