import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.io.explain_figure import fields

LEVELS = [("stride 8", 75.0, (304, 192)), ("stride 16", 120.0, (320, 192)), ("stride 32", 0.0, (0, 0))]
SIZES = {"person": np.array([[10.0, 20.0], [60.0, 150.0]]), "vehicle": np.zeros((0, 2))}


@pytest.mark.parametrize(
    ("sizes", "levels"),
    [
        pytest.param(SIZES, LEVELS, id="objects and levels"),
        pytest.param({}, LEVELS, id="no class"),
        pytest.param(SIZES, [], id="no level"),
        pytest.param({"person": np.full((5000, 2), 1.5)}, LEVELS[:1], id="many, and tiny"),
    ],
)
def test_it_is_a_picture_of_the_same_bytes(
    sizes: dict[str, NDArray[np.float64]], levels: list[tuple[str, float, tuple[int, int]]]
) -> None:
    data = fields(sizes, levels, (320, 192))
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[1] == 960
    assert fields(sizes, levels, (320, 192)) == data
