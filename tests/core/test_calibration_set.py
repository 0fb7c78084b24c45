from collections import Counter

import pytest

from pipeline.core.calibration_set import calibration_set, fingerprint, spread, stratify
from pipeline.core.errors import DataError
from pipeline.core.types import Annotation, Frame


def frame(number: int, camera: str = "a", index: int = 0, luminance: float = 0.0, duplicate_of: str = "") -> Frame:
    return Frame(
        f"{number:016x}", camera, "clip", index, None, 100, 200, "a.mp4", luminance=luminance, duplicate_of=duplicate_of
    )


def box(number: int, height: float, *, ignore: bool = False) -> Annotation:
    return Annotation(f"{number:016x}", "person", 0, 0, 10, height, ignore)


@pytest.mark.parametrize(
    ("held", "count", "expected"),
    [
        pytest.param({"a": 4, "b": 4}, 4, {"a": [1, 3], "b": [1, 3]}, id="evenly"),
        pytest.param({"a": 9, "b": 1}, 4, {"a": [1, 4, 7], "b": [0]}, id="a camera with few frames"),
        pytest.param({"a": 2, "b": 1}, 9, {"a": [0, 1], "b": [0]}, id="fewer than asked for"),
        pytest.param({"a": 3, "b": 3, "c": 3}, 2, {"a": [1], "b": [1]}, id="fewer than cameras"),
    ],
)
def test_frames_are_spread_over_cameras_and_time(
    held: dict[str, int], count: int, expected: dict[str, list[int]]
) -> None:
    frames = [frame(100 * ord(c) + i, c, i) for c, number in held.items() for i in reversed(range(number))]
    wanted = [f"{100 * ord(camera) + i:016x}" for camera, places in expected.items() for i in places]
    assert spread(frames, count) == wanted


def test_frames_are_in_thirds_of_light_and_of_size() -> None:
    frames = [frame(i, luminance=10.0 * i) for i in range(6)]
    boxes = [box(0, 20), box(0, 60), box(0, 30), box(1, 100), box(2, 160), box(3, 5, ignore=True)]
    # Medians, as shares of the height 200: 0.15, 0.5, 0.8. Frame 3 holds nothing but an ignore region.
    bands = {int(frame_id, 16): band for frame_id, band in stratify(frames, boxes).items()}
    assert bands == {0: (0, 0), 1: (0, 1), 2: (1, 2), 3: (1, -1), 4: (2, -1), 5: (2, -1)}


def test_rare_conditions_get_the_same_share_as_common_ones() -> None:
    """Ten dark frames, ten of middle light and two bright ones of a camera; two frames of another."""
    light = [0.0] * 10 + [50.0] * 10 + [99.0] * 2
    frames = [frame(i, "a", i, luminance) for i, luminance in enumerate(light)]
    frames += [frame(100 + i, "b", i, 50.0) for i in range(2)]  # the thirds of all 24 end at 0 and 50
    chosen = [int(frame_id, 16) for frame_id in calibration_set(frames, [], 8, ())]
    assert Counter("b" if number >= 100 else light[number] for number in chosen) == {0.0: 2, 50.0: 2, 99.0: 2, "b": 2}


def test_with_few_frames_every_camera_still_has_its_turn() -> None:
    frames = [frame(10 * c + i, f"camera {c}", i, luminance=float(i)) for c in range(5) for i in range(3)]
    assert len({int(frame_id, 16) // 10 for frame_id in calibration_set(frames, [], 5, ())}) == 5


@pytest.mark.parametrize("benchmark", [f"{3:016x}", "the first of its look"], ids=["itself", "its like"])
def test_a_frame_of_the_benchmark_is_refused(benchmark: str) -> None:
    frames = [frame(i, index=i, duplicate_of="the first of its look" if i == 3 else "") for i in range(4)]
    assert len(calibration_set(frames, [], 4, {"another"})) == 4
    with pytest.raises(DataError, match=r"1 of its frames are in the benchmark split too, 0+3 first"):
        calibration_set(frames, [], 4, {benchmark})


def test_without_training_frames_there_is_nothing_to_calibrate_on() -> None:
    with pytest.raises(DataError, match=r"raise split\.fractions\.train"):
        calibration_set([], [], 4, ())


def test_the_fingerprint_is_of_the_set() -> None:
    digest = "7e18f737311b2dc3b2f269dd78396b0351f14fb66efa879f768cb23181883c78"  # printf 'a\nb' | sha256sum
    assert fingerprint(["b", "a"]) == digest
