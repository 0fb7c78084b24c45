"""Figures are PNG pictures of a readable size; the same figures give the same bytes, whatever the user's style is."""

import io
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from pipeline.core.calibration import Reliability
from pipeline.core.diagnosis import GRID, AlarmMap
from pipeline.io import figures

ASSESSED = {"verdict": "assessable", "recall": 0.8, "recall_low": 0.7, "recall_high": 0.9, "objects": 50}
GROUPS = {"class": {"person": ASSESSED}, "camera": {"hall": {"verdict": "not assessable", "objects": 3, "needed": 30}}}
SEEN = {"recall": 0.8, "recall_low": 0.7, "recall_high": 0.9, "objects": 50}
UNSEEN = {"recall": None, "recall_low": None, "recall_high": None, "objects": 3}
PARTS = [UNSEEN | {"low": 0.0}, SEEN | {"low": 32.0}, SEEN | {"low": 64.0}]
HEIGHTS = {"recall_floor": 0.9, "conditions": [{"condition": "height", "parts": PARTS}]}
EDGES = np.linspace(0.5, 1, 11, dtype=np.float64)


def camera(alarms: int) -> AlarmMap:
    cells = np.zeros(GRID[::-1], np.int64)
    cells[3:9, 4:8] = alarms
    return AlarmMap("hall", 20, alarms, cells, 0)


TIDE = {"dAP": {"missed": 0.2, "background": 0.1, "false_positive": 0.1}, "count": {"missed": 3, "background": 9}}
HELD = Reliability(np.array([0.2, 0.9]), np.array([0.1, 0.8]), np.array([3, 40]))
IMAGE = np.full((90, 160, 3), 90, np.uint8)
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
    pytest.param(lambda: figures.recall_by_height(HEIGHTS), id="heights"),
    pytest.param(
        lambda: figures.recall_by_height(HEIGHTS | {"conditions": [{"condition": "height", "parts": []}]}),
        id="heights-of-nothing",
    ),
    pytest.param(lambda: figures.error_costs(TIDE), id="tide"),
    pytest.param(lambda: figures.error_costs({"count": TIDE["count"]}), id="tide-without-an-object"),
    pytest.param(lambda: figures.reliability({"person": (HELD, HELD)}), id="reliability"),
    pytest.param(lambda: figures.reliability(dict.fromkeys("abcdef", (HELD, HELD))), id="reliability-of-many"),
    pytest.param(lambda: figures.reliability({}), id="reliability-without-a-class"),
    pytest.param(lambda: figures.alarm_maps([camera(n) for n in range(5)], [IMAGE] * 5), id="false-alarms"),
    pytest.param(lambda: figures.alarm_maps([camera(0)], [IMAGE]), id="no-false-alarm"),
    pytest.param(lambda: figures.alarm_maps([], []), id="no-camera"),
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
