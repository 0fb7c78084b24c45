import pytest

from pipeline.core.limits import size_defect
from pipeline.core.params import UsableParams

LIMITS = UsableParams(min_side=32, max_side=2000, max_megapixels=1.0, min_luminance=0.0, min_sharpness=0.0)


@pytest.mark.parametrize(
    ("width", "height", "key"),
    [
        pytest.param(32, 2000, "", id="within"),
        pytest.param(31, 100, "too small", id="narrow"),
        pytest.param(2001, 100, "too large", id="long"),
        pytest.param(1001, 1000, "too large", id="many pixels"),
    ],
)
def test_sizes_at_their_limits(width: int, height: int, key: str) -> None:
    assert size_defect(width, height, LIMITS).partition(":")[0] == key
