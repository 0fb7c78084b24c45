"""Figures are PNG pictures of a readable size; the same figures give the same bytes, whatever the user's style is."""

import io
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from pipeline.io import figures

ASSESSED = {"verdict": "assessable", "recall": 0.8, "recall_low": 0.7, "recall_high": 0.9, "objects": 50}
GROUPS = {"class": {"person": ASSESSED}, "camera": {"hall": {"verdict": "not assessable", "objects": 3, "needed": 30}}}
EDGES = np.linspace(0.5, 1, 11, dtype=np.float64)
CASES = [
    pytest.param(
        lambda: figures.precision_recall({"person": np.linspace(1, 0, 101, dtype=np.float64)}, {"person": (0.5, 0.5)}),
        id="pr",
    ),
    pytest.param(lambda: figures.precision_recall({}, {}), id="pr-without-a-class"),
    pytest.param(lambda: figures.confusion(np.array([[9, 1], [2, 0]]), ["person", "background"]), id="confusion"),
    pytest.param(lambda: figures.confusion(np.zeros((2, 2), np.int64), ["person", "background"]), id="confusion-empty"),
    pytest.param(lambda: figures.iou_histogram(EDGES, np.arange(10), 0.8), id="iou"),
    pytest.param(lambda: figures.iou_histogram(EDGES, np.zeros(10, np.int64), None), id="iou-without-a-hit"),
    pytest.param(lambda: figures.group_recall(GROUPS), id="groups"),
    pytest.param(lambda: figures.group_recall({}), id="groups-without-one"),
]


@pytest.mark.parametrize("draw", CASES)
def test_a_png_without_traces_of_time_and_version(draw: Callable[[], bytes]) -> None:
    data = draw()
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        assert image.size[0] >= 400
        assert not {"Software", "Creation Time"} & image.info.keys()
    assert draw() == data


def test_the_users_style_changes_nothing() -> None:
    plain = figures.iou_histogram(EDGES, np.arange(10), 0.8)
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "black", "savefig.dpi": 300}):
        assert figures.iou_histogram(EDGES, np.arange(10), 0.8) == plain
