"""Which objects and false alarms a group has, and its figures, by hand and against pycocotools."""

import numpy as np
import pytest

from pipeline.core import groups
from pipeline.core.bootstrap import resampling
from pipeline.core.matching import Matched, match_frames
from pipeline.core.types import Detections, Truth
from pipeline.io import coco_eval

THRESHOLDS = np.array([0.5, 0.5])


def truth(*rows: tuple[float, float, int]) -> Truth:
    """Objects 10 px wide: left, height, label."""
    return Truth(
        np.array([(x, 0, x + 10, h) for x, h, _ in rows], np.float32).reshape(-1, 4),
        np.array([label for *_, label in rows], np.int64),
        np.zeros(len(rows), np.bool_),
    )


def found(*rows: tuple[float, float, int, float]) -> Detections:
    """Boxes 10 px wide: left, height, label, score."""
    return Detections(
        np.array([(x, 0, x + 10, h) for x, h, *_ in rows], np.float32).reshape(-1, 4),
        np.array([score for *_, score in rows], np.float32),
        np.array([label for _, _, label, _ in rows], np.int64),
    )


TRUTHS = [truth((0, 20, 0), (50, 60, 1)), truth((0, 20, 0)), truth((0, 20, 0))]
FOUND = [
    found((0, 20, 0, 0.9), (50, 60, 1, 0.8), (100, 60, 0, 0.7)),  # two hits, one tall false alarm
    found((0, 18, 0, 0.6), (90, 20, 0, 0.2)),  # a hit of IoU 0.9, a false alarm below the operating point
    found(),  # a miss
]


@pytest.fixture
def matched() -> Matched:
    return match_frames(TRUTHS, FOUND, 0.5)


def figures_of(chosen: list[groups.Group], matched: Matched) -> dict[str, dict[str, float]]:
    return {group.value: groups.figures(group, matched, THRESHOLDS) for group in chosen}


def test_classes(matched: Matched) -> None:
    of = figures_of(list(groups.by_class(matched, ["person", "vehicle"])), matched)
    assert of["person"] == pytest.approx(
        {
            "objects": 3,
            "hits": 2,
            "misses": 1,
            "false_alarms": 1,
            "precision": 2 / 3,
            "recall": 2 / 3,
            "f1": 2 / 3,
            "mean_iou": 0.95,
        }
    )
    assert of["vehicle"]["recall"] == of["vehicle"]["precision"] == 1.0


def test_heights_take_false_alarms_by_their_own_height(matched: Matched) -> None:
    of = figures_of(list(groups.by_height(matched, (0, 20, 48, 1000))), matched)
    assert list(of) == ["0-20 px", "20-48 px", "48-1000 px"]
    assert (of["0-20 px"]["objects"], of["0-20 px"]["false_alarms"]) == (0, 0)  # the edge belongs to the next bin
    assert (of["20-48 px"]["hits"], of["20-48 px"]["false_alarms"]) == (2, 0)  # the hit of 18 px found one of 20 px
    assert (of["48-1000 px"]["hits"], of["48-1000 px"]["false_alarms"]) == (1, 1)


def test_frames(matched: Matched) -> None:
    of = figures_of(list(groups.by_frame(matched, "camera", ["b", "a", "a"])), matched)
    assert list(of) == ["a", "b"]
    assert (of["a"]["objects"], of["a"]["hits"], of["a"]["frames"]) == (2, 1, 2)
    assert of["b"]["false_alarms_per_frame"] == 1.0


def test_frames_without_the_attribute_are_in_no_group(matched: Matched) -> None:
    of = figures_of(list(groups.by_frame(matched, "weather", ["rain", None, None])), matched)
    assert of.keys() == {"rain"}
    assert of["rain"]["objects"] == 2


def test_a_false_alarm_has_no_brightness(matched: Matched) -> None:
    of = figures_of(list(groups.by_object("brightness", ["dark", "light", "dark", None])), matched)
    assert of["dark"] == pytest.approx({"objects": 2, "hits": 2, "misses": 0, "recall": 1.0, "mean_iou": 0.95})
    assert of["light"]["objects"] == 1


def evidence(matched: Matched, frames: int, min_support: int, clusters: int | None = None) -> groups.Evidence:
    """Frames are clusters, dealt in turn to so many of them."""
    keys = [i % (clusters or frames) for i in range(frames)]
    return groups.Evidence(matched, matched, THRESHOLDS, (resampling("image", keys, 400, 0),), min_support)


def test_too_few_objects_are_not_assessed(matched: Matched) -> None:
    vehicle = list(groups.by_class(matched, ["person", "vehicle"]))[1]
    expected = {"verdict": "not assessable", "reason": "1 of 2 objects", "objects": 1, "needed": 2}
    assert groups.assess(vehicle, evidence(matched, 3, 2)) == expected


def test_too_few_clusters_leave_figures_without_intervals(matched: Matched) -> None:
    result = groups.assess(groups.everything(matched, 3), evidence(matched, 3, 1))
    assert (result["verdict"], result["reason"]) == ("not assessable", "3 of 10 clusters (image)")
    assert result["recall"] == 0.75
    assert not [name for name in result if name.endswith("_low")]
    expected, _ = coco_eval.coco_scores(TRUTHS, FOUND, ["person", "vehicle"])
    assert result["AP50"] == pytest.approx(expected["AP50"])


def test_an_assessed_group_says_how_sure_every_figure_is() -> None:
    """The world above twelve times over: three quarters found, half of the clusters of one frame with a miss."""
    many = match_frames(TRUTHS * 12, FOUND * 12, 0.5)
    result = groups.assess(groups.everything(many, 36), evidence(many, 36, 30))
    assert (result["verdict"], result["clusters"], result["unit"]) == ("assessable", 36, "image")
    for name in ("recall", "precision", "mean_iou", "AP50"):
        assert float(result[f"{name}_low"]) < float(result[name]) < float(result[f"{name}_high"])
    # recall: clusters of 2, 1 and 1 objects of which 2, 1 and 0 are found; the ratio's linearised error is
    # sqrt(12 * (0.5**2 + 0.25**2 + 0.75**2)) / 48 = 0.0675, on the log-odds 0.36, times 2.04 of Student's 31 degrees
    assert result["recall_low"] == pytest.approx(0.59, abs=0.02)
    assert result["recall_high"] == pytest.approx(0.862, abs=0.02)


def test_a_group_without_a_miss_is_not_sure_to_be_found() -> None:
    """40 of 40: Wilson's lower bound with Student's quantile of 39 degrees, 2.0227: 40 / (40 + 2.0227 ** 2)."""
    perfect = match_frames([truth((0, 20, 0))] * 40, [found((0, 20, 0, 0.9))] * 40, 0.5)
    result = groups.assess(groups.everything(perfect, 40), evidence(perfect, 40, 30))
    assert (result["recall_low"], result["recall_high"]) == pytest.approx((0.9072, 1.0), abs=1e-4)


def test_ap50_of_a_camera_is_pycocotools_on_its_frames(matched: Matched) -> None:
    camera = next(iter(groups.by_frame(matched, "camera", ["a", "a", "b"])))
    expected, _ = coco_eval.coco_scores(TRUTHS[:2], FOUND[:2], ["person", "vehicle"])
    assert groups.assess(camera, evidence(matched, 3, 1))["AP50"] == pytest.approx(expected["AP50"])


def test_slices_share_a_value_of_each_attribute(matched: Matched) -> None:
    those = [*groups.by_frame(matched, "camera", ["a", "b", "b"]), *groups.by_class(matched, ["person", "vehicle"])]
    both = list(groups.slices(those, [("camera", "class")]))
    names = ["a x person", "a x vehicle", "b x person"]  # no vehicle was seen by b
    assert [(it.attribute, it.value) for it in both] == [("camera x class", name) for name in names]
    assert [int(it.objects.sum()) for it in both] == [1, 1, 2]
    assert groups.figures(both[0], matched, THRESHOLDS)["false_alarms"] == 1


def test_a_slice_with_an_attribute_of_objects_has_no_false_alarms(matched: Matched) -> None:
    dark = groups.by_object("brightness", ["dark", "light", "dark", None])
    both = list(groups.slices([*groups.by_frame(matched, "camera", ["a"] * 3), *dark], [("camera", "brightness")]))
    assert [it.value for it in both] == ["a x dark", "a x light"]
    assert all(it.detections is None for it in both)


def test_a_slice_of_an_attribute_that_is_not_there_is_none(matched: Matched) -> None:
    those = list(groups.by_class(matched, ["person"]))
    assert not list(groups.slices(those, [("class", "frame weather")]))


def test_thirds_of_each_clip() -> None:
    clips = ["a"] * 4 + ["b"] * 2
    times = [4.0, 5.0, 6.0, 7.0, 100.0, None]
    assert groups.thirds(clips, times) == [*("1st third", "2nd third", "3rd third", "3rd third"), "1st third", None]
