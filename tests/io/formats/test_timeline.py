from collections import Counter
from typing import Any

import numpy as np
import pytest
from label_studio_sdk._extensions.label_studio_tools.postprocessing.video import extract_key_frames

from pipeline.core.errors import DataError
from pipeline.core.types import Frame
from pipeline.io.formats.record import Keyframe, Region, Task, Timeline, Track, Version, pixels
from pipeline.io.formats.timeline import MOST_FRAMES, keyframes, seen, shifted_frames, still, timeline

PERSON = Region("person", 0, 0, 0, 0, track_id="t")


def point(index: int, x: float, *, enabled: bool = True, rotation: float = 0.0) -> Keyframe:
    return Keyframe(index, x, 0.2, 0.3, 0.4, rotation, enabled=enabled)


def raw(frame: object = 1, **more: Any) -> dict[str, Any]:
    return {"frame": frame, "x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "enabled": True, **more}


def places(*points: Keyframe, frames: int = 10) -> list[float | None]:
    """Left edge in each frame, in percent; None where nothing is seen."""
    found = [seen([Track(PERSON, points)], index) for index in range(frames)]
    return [round(100 * regions[0].x, 6) if regions else None for regions in found]


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        pytest.param([point(2, 0.1)], [None, None, 10, 10, 10, 10], id="holds-to-the-end"),
        pytest.param([point(2, 0.1, enabled=False)], [None, None, 10, None, None, None], id="seen-once"),
        pytest.param([point(1, 0.1), point(4, 0.4)], [None, 10, 20, 30, 40, 40], id="interpolated"),
        pytest.param(
            [point(0, 0.1), point(2, 0.3, enabled=False), point(4, 0.6)],
            [10, 20, 30, None, 60, 60],
            id="hidden-between",
        ),
        pytest.param([point(-1, 0.1), point(1, 0.3)], [20, 30, 30, 30, 30, 30], id="from-before-the-first-frame"),
    ],
)
def test_where_an_object_is_in_each_frame(points: list[Keyframe], expected: list[float | None]) -> None:
    assert places(*points, frames=6) == expected


def test_every_side_and_the_turn_are_interpolated() -> None:
    points = (Keyframe(0, 0.0, 0.1, 0.2, 0.3, 0.0), Keyframe(4, 0.4, 0.3, 0.4, 0.1, 40.0))
    (found,) = seen([Track(PERSON, points)], 1)
    assert (found.x, found.y, found.width, found.height) == pytest.approx((0.1, 0.15, 0.25, 0.25))
    assert found.rotation == pytest.approx(10)
    assert found.attributes == {"rotation": "10"}
    assert seen([Track(PERSON, points)], 0)[0].attributes == {}


def random_sequence(rng: np.random.Generator) -> list[dict[str, Any]]:
    frames = rng.choice(np.arange(1, 40), size=rng.integers(1, 8), replace=False)
    names = ("x", "y", "width", "height", "rotation")
    return [
        {
            "frame": int(frame),
            "enabled": bool(rng.random() < 0.6),
            "time": frame / 25,
            **dict(zip(names, rng.uniform(0, 50, 5).tolist(), strict=True)),
        }
        for frame in frames
    ]


@pytest.mark.parametrize("seed", range(25))
def test_the_same_frames_as_label_studios_own_helper(seed: int) -> None:
    sequence = random_sequence(np.random.default_rng(seed))
    value = {"sequence": sequence, "framesCount": 50, "duration": 2.0}
    (result,) = extract_key_frames(  # type: ignore[no-untyped-call]
        [{"type": "videorectangle", "value": value}]
    )
    theirs = {f["frame"]: f for f in result["value"]["sequence"]}
    points = keyframes({"sequence": sequence}, "task 1", Counter())
    ours = {index + 1: found[0] for index in range(50) if (found := seen([Track(PERSON, points)], index))}
    assert sorted(ours) == sorted(theirs)
    for frame, region in ours.items():
        expected = [theirs[frame][name] for name in ("x", "y", "width", "height", "rotation")]
        sides = (region.x * 100, region.y * 100, region.width * 100, region.height * 100, region.rotation)
        assert sides == pytest.approx(expected)


def test_keyframes_are_sorted_and_the_first_of_a_frame_stays() -> None:
    left: Counter[str] = Counter()
    found = keyframes({"sequence": [raw(6), raw(1, x=50), raw(6, x=70, enabled=False)]}, "task 1", left)
    assert found == (Keyframe(0, 0.5, 0.2, 0.3, 0.4), Keyframe(5, 0.1, 0.2, 0.3, 0.4))
    assert left == {"second keyframe of a frame": 1}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        pytest.param(raw(1.5), "a keyframe has frame 1.5; expected a whole number", id="half"),
        pytest.param(raw(None), "a keyframe has frame None", id="none"),
        pytest.param(raw(-1), "a keyframe has frame -1", id="negative"),
        pytest.param(raw(MOST_FRAMES + 1), "a timeline of 200001 frames, more than 200000", id="endless"),
        pytest.param(raw(x=float("nan")), "keyframe 1: x: nan is no coordinate", id="nan"),
        pytest.param(raw(width="3"), "keyframe 1: width: expected a number", id="text"),
        pytest.param(3, "keyframe: expected an object", id="no-object"),
    ],
)
def test_a_broken_keyframe_is_refused_by_task(item: object, message: str) -> None:
    with pytest.raises(DataError, match=f"task 1: {message}"):
        keyframes({"sequence": [item]}, "task 1", Counter())


def test_the_clip_as_its_tracks_state_it() -> None:
    assert timeline([], "task 1") == Timeline(None, None)
    assert timeline([{"framesCount": 50, "duration": 2}, {"framesCount": 49}], "task 1") == Timeline(50, 2.0)
    with pytest.raises(DataError, match="task 1: a timeline of 200001 frames, more than 200000; cut the clip"):
        timeline([{"framesCount": MOST_FRAMES + 1}], "task 1")


def test_a_still_is_named_by_label_studios_number() -> None:
    track = Track(PERSON, (point(4, 0.1, enabled=False),))
    clip = Task("17", ("a.mp4",), (Version((), "1", tracks=(track,)), Version((), "2")), clip="a", left_out={"x": 1})
    shown = still(clip, 4)
    assert (shown.id, shown.clip, shown.frame_index, shown.left_out, shown.timeline) == ("17#5", "a", 4, {}, None)
    assert [(v.annotator, len(v.regions), v.tracks) for v in shown.versions] == [("1", 1, ()), ("2", 0, ())]
    assert pixels(shown.versions[0].regions[0], (200, 100)) == (20, 20, 60, 40)


def frames(rate: float, count: int, step: int = 1) -> list[Frame]:
    return [Frame(str(i), "lot", "lot", i, i / rate, 10, 10, "lot.mp4") for i in range(0, count, step)]


@pytest.mark.parametrize(
    ("line", "clip", "shift"),
    [
        pytest.param(Timeline(250, 10.0), frames(25, 250), 0, id="same-rate"),
        pytest.param(Timeline(251, 10.0), frames(25, 250), 0, id="rounded"),
        pytest.param(Timeline(240, 10.0), frames(25, 250), -10, id="24-for-25"),
        pytest.param(Timeline(300, 10.0), frames(25, 250), 50, id="30-for-25"),
        pytest.param(Timeline(240, 10.0), frames(25, 250, step=10), -10, id="24-for-25-sampled"),
        pytest.param(Timeline(3000, 100.0), frames(30000 / 1001, 2997), 3, id="30-for-29.97"),
        pytest.param(Timeline(None, 10.0), frames(25, 250), 0, id="unknown-count"),
        pytest.param(Timeline(240, None), frames(25, 250), 0, id="unknown-length"),
        pytest.param(Timeline(240, 10.0), frames(25, 1), 0, id="one-frame"),
    ],
)
def test_a_wrong_frame_rate_shows(line: Timeline, clip: list[Frame], shift: int) -> None:
    assert shifted_frames(line, clip) == shift
