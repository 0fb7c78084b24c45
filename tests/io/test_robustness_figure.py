from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.io.robustness_figure import COLUMNS, severity_curves

PLAIN = {"AP": 0.5, "AP50": 0.8}


def scores(count: int, values: dict[str, float]) -> dict[str, Any]:
    return {"plain": PLAIN, "corruptions": {f"c_{i}": {"severity": {"1": values, "3": values}} for i in range(count)}}


def shape(data: bytes) -> tuple[int, ...]:
    return tuple(np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)).shape)


@pytest.mark.parametrize(
    ("values", "plain"),
    [
        pytest.param({"AP": 0.4, "AP50": 0.7}, PLAIN, id="measured"),
        pytest.param({}, {}, id="without objects"),
    ],
)
def test_same_figures_same_bytes(values: dict[str, float], plain: dict[str, float]) -> None:
    it = scores(2, values) | {"plain": plain}
    assert severity_curves(it) == severity_curves(it)


def test_a_panel_a_corruption() -> None:
    one, many, none = (shape(severity_curves(scores(n, PLAIN))) for n in (1, COLUMNS + 1, 0))
    assert one == none
    assert many[0] > 1.7 * one[0]
