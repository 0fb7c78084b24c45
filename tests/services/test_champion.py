"""What is kept of a champion, and why it may not be comparable; whole meetings are in test_register."""

import numpy as np
import pytest

from pipeline.core.paired import Difference
from pipeline.core.params import Bounds
from pipeline.core.types import Detections, Frame, Sample, Truth
from pipeline.core.verdict import Result, judge
from pipeline.services import tracking
from pipeline.services.champion import LIMIT, Kept, incomparable, keep, kept, measured

NONE = Detections.empty()
SAMPLE = Sample(
    tuple(Frame(name, "hall", "hall", 0, None, 32, 32, name) for name in "ab"),
    (Truth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_)),) * 2,
    (NONE, NONE),
    ("person", "vehicle"),
)


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        pytest.param(Kept(("person", "vehicle"), {"b": NONE}), "", id="one frame is enough to begin with"),
        pytest.param(None, "the champion's detections are not kept in MLflow", id="nothing kept"),
        pytest.param(
            Kept(("person",), {"a": NONE}), "the champion was measured on other classes: person", id="other classes"
        ),
        pytest.param(
            Kept(("person", "vehicle"), {"c": NONE}),
            "the champion was measured on another benchmark: no frame is in both",
            id="other frames",
        ),
    ],
)
def test_what_cannot_be_compared(theirs: Kept | None, reason: str) -> None:
    assert incomparable(SAMPLE, theirs) == reason


@pytest.mark.parametrize(
    ("figure", "interval", "result"),
    [
        pytest.param(0.1, (0.02, 0.18), Result.HOLDS, id="surely not worse"),
        pytest.param(0.0, (-0.08, 0.08), Result.NOT_ASSESSED, id="not surely"),
        pytest.param(-0.1, (-0.3, 0.1), Result.FAILS, id="worse, as far as is known"),
        pytest.param(0.1, None, Result.NOT_ASSESSED, id="better, but without an interval"),
        pytest.param(-0.1, None, Result.FAILS, id="worse, without an interval"),
        pytest.param(None, None, Result.NOT_ASSESSED, id="no object"),
    ],
)
def test_a_difference_is_judged_like_every_limit(
    figure: float | None, interval: tuple[float, float] | None, result: Result
) -> None:
    asked = Bounds(min=-0.05)
    line = judge(LIMIT, asked, measured(Difference(figure, interval, 30, 4, "image", 0.5), 2, SAMPLE, asked))
    assert line.result == result
    assert line.evidence == "30 objects in 4 clusters (image); 2 of 2 benchmark frames are the champion's too"


def test_a_run_without_detections_keeps_nothing_to_compare(mlflow_store: str) -> None:
    client = tracking.connect()
    run = client.create_run(tracking.experiment_id(client, "sightline"))
    keep(client, run.info.run_id, SAMPLE)
    client.create_registered_model("sightline")
    version = client.create_model_version("sightline", mlflow_store, run.info.run_id)
    assert kept(client, version) is None
