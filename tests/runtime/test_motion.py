import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.runtime.motion import Motion, MotionGate, MotionParams
from pipeline.runtime.sources import open_source

DEMO = Path(__file__).parents[2] / "data" / "demo"
HEIGHT, WIDTH = 90, 160
FPS = 10
Picture = NDArray[np.uint8]


def scene(seed: int = 1) -> NDArray[np.float32]:
    """A picture with structure at every scale, as places have."""
    noise = np.random.default_rng(seed).normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32)
    mixed = sum(cv2.GaussianBlur(noise, (0, 0), sigma) * sigma * 40 for sigma in (1, 3, 9))
    return np.asarray(np.clip(120 + mixed, 30, 220), np.float32)


SCENE = scene()


def shot(n: int, at: tuple[int, int] | None = None, grey: float = 10, gain: float = 1.0, noise: float = 2.0) -> Picture:
    """The scene in frame n, with a person 6 wide and 16 high at (x, y), on a sensor with noise."""
    picture = SCENE.copy()
    if at is not None:
        picture[at[1] : at[1] + 16, at[0] : at[0] + 6] = grey
    chance = np.random.default_rng(n)
    return np.asarray(np.clip(picture * gain + chance.normal(0, noise, SCENE.shape), 0, 255), np.uint8)


def run(pictures: Iterable[Picture], gate: MotionGate | None = None, start: int = 0, fps: float = FPS) -> list[Motion]:
    gate = gate or MotionGate()
    return [gate.step(picture, (start + n) / fps) for n, picture in enumerate(pictures)]


def moving(motions: list[Motion]) -> int:
    return sum(motion.moving for motion in motions)


def test_a_person_who_walks_is_found_in_every_frame_where_they_are() -> None:
    gate = MotionGate()
    assert moving(run((shot(n) for n in range(20)), gate)) == 0
    for n, motion in enumerate(run((shot(n, (10 + 2 * n, 40)) for n in range(20, 70)), gate, 20), 20):
        x, y = 10 + 2 * n, 40
        hit = [r for r in motion.regions if r[0] <= (x + 3) / WIDTH <= r[2] and r[1] <= (y + 8) / HEIGHT <= r[3]]
        assert hit, f"frame {n}: {motion.regions}"
        assert all((r >= 0).all() and (r <= 1).all() for r in motion.regions)
        assert (hit[0][2:] - hit[0][:2] < 0.5).all()


def test_noise_is_no_motion() -> None:
    assert moving(run(shot(n, noise=4.0) for n in range(200))) == 0


def test_a_small_shake_is_no_motion() -> None:
    steps = np.random.default_rng(3).uniform(-1, 1, (100, 2))
    assert moving(run(shifted(shot(n), step) for n, step in enumerate(steps))) == 0


def shifted(picture: Picture, step: NDArray[np.float64]) -> Picture:
    matrix = np.array([[1, 0, step[0]], [0, 1, step[1]]])
    size = WIDTH, HEIGHT
    return np.asarray(cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)


@pytest.mark.parametrize("gain", [0.65, 1.15])
def test_a_step_of_the_exposure_is_no_motion(gain: float) -> None:
    assert moving(run(shot(n, gain=1.0 if n < 30 else gain) for n in range(60))) == 0


def test_a_person_is_found_while_the_exposure_changes() -> None:
    gate = MotionGate()
    run((shot(n) for n in range(20)), gate)
    found = run((shot(n, (10 + 2 * n, 40), gain=1 - n / 200) for n in range(20, 60)), gate, 20)
    assert moving(found) == len(found)
    assert max(len(motion.regions) for motion in found) <= 2


def test_another_scene_moves_once_and_is_learned() -> None:
    motions = run(shot(n, gain=1.0 if n < 20 else 0.2) for n in range(40))  # the lights go out
    assert [n for n, motion in enumerate(motions) if motion.moving] == [20]
    assert motions[20].regions.tolist() == [[0, 0, 1, 1]]
    assert motions[20].detect


def test_leaves_that_wave_for_ever_are_learned() -> None:
    def waving(n: int) -> Picture:
        picture = shot(n)
        picture[10:30, 10:30] = np.clip(picture[10:30, 10:30] + 40 * np.sin(n * 1.7), 0, 255)
        return picture

    motions = run(waving(n) for n in range(300))
    assert moving(motions[:20]) > 10
    assert moving(motions[-100:]) <= 5


def test_who_stands_still_moves_no_more_and_neither_does_the_place_that_they_leave() -> None:
    gate = MotionGate()
    run((shot(n) for n in range(20)), gate)
    run((shot(n, (2 * n, 40)) for n in range(20, 40)), gate, 20)
    standing = run((shot(n, (80, 40)) for n in range(40, 340)), gate, 40)
    assert moving(standing[10:]) == 0
    leaving = run((shot(n, (80 + 4 * (n - 340), 40)) for n in range(340, 355)), gate, 340)
    assert moving(leaving[1:]) == len(leaving) - 1
    assert moving(run((shot(n) for n in range(355, 400)), gate, 355)[5:]) == 0


def test_who_stands_beside_one_who_walks_is_no_region() -> None:
    def two(n: int) -> Picture:
        picture = shot(n, (2 * n % 100, 60))
        picture[10:26, 120:126] = 10 if n >= 20 else picture[10:26, 120:126]
        return picture

    motions = run(two(n) for n in range(50))
    assert any((motion.regions[:, 1] < 0.4).any() for motion in motions[20:25])
    assert all(len(motion.regions) and (motion.regions[:, 1] > 0.5).all() for motion in motions[30:])


def test_a_street_that_is_never_empty_does_not_blind_the_gate() -> None:
    """Cars of 36 pixels every 4 s for two minutes: the last is seen as the first was."""

    def car(n: int) -> Picture:
        picture = shot(n)
        x = 4 * (n % 40)
        picture[40:56, x : x + 36] = 200 if n // 40 % 2 else 20
        return picture

    motions = run(car(n) for n in range(1200))
    assert moving(motions[-400:]) >= 380


def detections(motions: list[Motion], fps: float = FPS) -> float:
    """A second."""
    return sum(motion.detect for motion in motions) * fps / len(motions)


def test_the_first_frame_is_looked_at_then_the_floor_holds() -> None:
    motions = run(shot(n) for n in range(200))
    assert [n for n, motion in enumerate(motions) if motion.detect] == list(range(0, 200, 20))


def test_no_floor_no_look_without_motion() -> None:
    gate = MotionGate(MotionParams(floor_fps=0.0))
    motions = run((shot(n) for n in range(60)), gate)
    assert [n for n, motion in enumerate(motions) if motion.detect] == []


def test_the_budget_holds_however_fast_frames_come() -> None:
    gate = MotionGate()
    motions = run((shot(n, (n * 3 % 150, 40)) for n in range(250)), gate, fps=25)
    assert 4 <= detections(motions, fps=25) <= 5.2


def test_new_motion_is_looked_at_in_its_first_frame() -> None:
    gate = MotionGate()
    run((shot(n) for n in range(30)), gate)  # looked at 0, 2.0 s
    motions = run((shot(n, (2 * n, 40)) for n in range(30, 40)), gate, 30)
    assert motions[0].detect
    assert sum(motion.detect for motion in motions) >= 4


def test_what_moves_in_its_place_is_looked_at_once_a_second() -> None:
    gate = MotionGate()
    run((shot(n) for n in range(20)), gate)
    sway = run((shot(n, (60 + n % 2, 40 + n // 2 % 2), grey=240) for n in range(20, 120)), gate, 20)
    assert moving(sway[20:70]) > 20
    assert sum(motion.detect for motion in sway[:10]) >= 4  # it is new
    assert detections(sway[20:]) <= 1.3


def test_another_size_starts_anew() -> None:
    gate = MotionGate()
    run((shot(n) for n in range(20)), gate)
    other = gate.step(np.zeros((120, 160), np.uint8), 2.0)
    assert not other.moving


def test_a_pause_is_taken_as_it_is() -> None:
    """After an hour without frames the place looks the same, but for the light."""
    gate = MotionGate()
    run((shot(n) for n in range(20)), gate)
    motion = gate.step(shot(20, gain=0.8), 3600.0)
    assert (motion.moving, motion.detect) == (False, True)


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(np.zeros((90, 160, 3), np.uint8), id="colour"),
        pytest.param(np.zeros((90, 160), np.float32), id="floats"),
        pytest.param(np.zeros((0, 160), np.uint8), id="empty"),
    ],
)
def test_what_is_no_grey_picture_is_refused(picture: NDArray[Any]) -> None:
    with pytest.raises(DataError, match="expected a grey picture"):
        MotionGate().step(picture, 0.0)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (16, 160)])
def test_any_size_goes(size: tuple[int, int]) -> None:
    chance = np.random.default_rng(0)
    assert len(run(chance.integers(0, 256, size, np.uint8) for _ in range(20))) == 20


def truth(camera: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether a frame is empty, and whether something moves in it: by a twentieth of its height in 0.3 s."""
    document = json.loads((DEMO / "truth" / f"{camera}.json").read_text(encoding="utf-8"))
    number = {image["id"]: image["frame_index"] for image in document["images"]}
    reach = round(0.3 / document["images"][1]["timestamp_s"])
    empty, moves = np.ones(len(number), bool), np.zeros(len(number), bool)
    centres: dict[tuple[int, int], tuple[float, float]] = {}
    boxes = [(number[it["image_id"]], it) for it in document["annotations"]]
    for n, it in boxes:
        empty[n] = False
        x, y, width, height = it["bbox"]
        centres |= {} if it["iscrowd"] else {(it["track_id"], n): (x + width / 2, y + height / 2)}
    for n, it in boxes:
        here = centres.get((it["track_id"], n))
        for other in (centres.get((it["track_id"], n + step)) for step in (-reach, reach)):
            if here and other and max(abs(a - b) for a, b in zip(here, other, strict=True)) > it["bbox"][3] / 20:
                moves[n] = True
    return empty, moves


@pytest.mark.parametrize(
    ("camera", "found", "rejected", "looked"),
    [
        pytest.param("lot_a", 0.98, 0.93, 0.15, id="lot_a: the camera drifts"),
        pytest.param("lobby", 0.97, 0.88, 0.20, id="lobby: paper moves in the draught"),
    ],
)
def test_the_demo_is_gated(camera: str, found: float, rejected: float, looked: float) -> None:
    empty, moves = truth(camera)
    gate = MotionGate()
    frames = open_source(str(DEMO / "clips" / f"{camera}.mp4")).frames()
    motions = [gate.step(frame.luma(WIDTH), frame.timestamp_s) for frame in frames]
    said = np.array([motion.moving for motion in motions])
    assert said[moves].mean() >= found
    assert (~said[empty]).mean() >= rejected
    assert np.mean([motion.detect for motion in motions]) <= looked
