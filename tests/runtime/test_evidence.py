"""Evidence: the right seconds of each alarm, nobody recognisable in any file, bounded in memory and on disk."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline.runtime.alarms import Event
from pipeline.runtime.clips import from_jpeg
from pipeline.runtime.evidence import HOLD_S, Evidence, EvidenceParams, boxes_at, file_name
from pipeline.runtime.metadata.scene import Clock
from tests.scenes import CLASSES, START, Seen, Still, event, track

Image = NDArray[np.uint8]
SIZE = 320, 240
BACKGROUND = np.kron(np.random.default_rng(5).integers(90, 110, (30, 40, 3)), np.ones((8, 8, 1))).astype(np.uint8)
# Nobody looks like this, and it can be found again in any file that holds it: black and white squares of 4 pixels.
PERSON = np.kron(np.indices((24, 10)).sum(0) % 2 * 255, np.ones((4, 4)))[..., None].repeat(3, 2).astype(np.uint8)


def walking(seconds: float) -> tuple[float, float, float, float]:
    """The box of someone who walks at half their height a second, as far as the picture goes."""
    left = min(20.0 + 48.0 * seconds, 280.0)
    return left, 100.0, left + PERSON.shape[1], 100.0 + PERSON.shape[0]


def scene(seconds: float, *, there: bool = True) -> Still:
    picture = BACKGROUND.copy()
    left, top, right, bottom = map(int, walking(seconds))
    if there:
        picture[top:bottom, left:right] = PERSON
    return Still(picture)


def run(
    folder: Path,
    reports: dict[float, list[Event]],
    p: EvidenceParams,
    *,
    until: float = 5.0,
    fps: float = 12.5,
    looks: float = 5.0,
    here: Callable[[float], bool] = lambda _: True,
) -> Evidence:
    """A camera of `fps` with `looks` detections a second; reports come with the first frame at or after their time."""
    evidence = Evidence(folder, CLASSES, p, Clock(START), now=lambda: START + timedelta(hours=1))
    waiting = dict(sorted(reports.items()))
    for index in range(round(until * fps)):
        at_s = index / fps
        detected = index % round(fps / looks) == 0
        due = [it for when in list(waiting) if when <= at_s for it in waiting.pop(when)]
        tracks = [track(box=walking(at_s))] * (detected and here(at_s))
        evidence.emit(Seen("lobby", at_s, SIZE, tracks, due, detected=detected, frame=scene(at_s, there=here(at_s))))
    evidence.close()
    return evidence


def read(path: Path) -> list[tuple[float, Image]]:
    with av.open(str(path)) as container:
        return [(it.time or 0.0, it.to_ndarray(format="rgb24").astype(np.uint8)) for it in container.decode(video=0)]


def likeness(picture: Image) -> float:
    """How sure the person can be found anywhere: the largest normalised correlation."""
    return float(cv2.matchTemplate(grey(picture), grey(PERSON), cv2.TM_CCOEFF_NORMED).max())


def grey(picture: Image) -> Image:
    return picture[..., 1].copy()


ALARM = {1.5: [event(1.0)], 4.0: [event(1.0, 2.0)]}
SHORT = EvidenceParams(before_s=1.0, after_s=1.0)


def test_an_alarm_leaves_a_clip_a_still_and_a_listing(tmp_path: Path) -> None:
    evidence = run(tmp_path, ALARM, SHORT)
    stem = "20261128T084018.120Z-presence-1"
    assert sorted(path.name for path in (tmp_path / "lobby").iterdir()) == [
        f"{stem}.jpg",
        f"{stem}.json",
        f"{stem}.mp4",
    ]
    listing = json.loads((tmp_path / "lobby" / f"{stem}.json").read_text())
    assert listing == {
        "camera": "lobby",
        "kind": "presence",
        "class": "person",
        "zone": "door",
        "direction": "",
        "start": "2026-11-28T08:40:18.120Z",
        "end": "2026-11-28T08:40:19.120Z",
        "confirmed": "2026-11-28T08:40:18.620Z",
        "score": 0.93,
        "clip": f"{stem}.mp4",
        "still": f"{stem}.jpg",
        "clip_start": "2026-11-28T08:40:17.120Z",
        "clip_end": "2026-11-28T08:40:20.000Z",
        "masked": ["person"],
    }
    frames = read(tmp_path / "lobby" / f"{stem}.mp4")
    assert [seconds for seconds, _ in frames] == pytest.approx(np.arange(len(frames)) * 0.24, abs=0.001)
    assert frames[-1][0] == pytest.approx(2.88)
    assert (evidence.written, evidence.lost) == (1, 0)


def test_nobody_can_be_recognised_in_any_file(tmp_path: Path) -> None:
    run(tmp_path, ALARM, SHORT)
    (clip,), (still,) = tmp_path.glob("lobby/*.mp4"), tmp_path.glob("lobby/*.jpg")
    assert likeness(from_jpeg(still.read_bytes())) < 0.3
    assert max(likeness(frame) for _, frame in read(clip)) < 0.3


def test_without_a_mask_the_person_is_found_in_every_frame(tmp_path: Path) -> None:
    """So the test above can fail."""
    run(tmp_path, ALARM, EvidenceParams(before_s=1.0, after_s=1.0, mask=()))
    (clip,) = tmp_path.glob("lobby/*.mp4")
    assert min(likeness(frame) for _, frame in read(clip)) > 0.8
    assert json.loads(next(tmp_path.glob("lobby/*.json")).read_text())["masked"] == []


@pytest.mark.parametrize("looks", [5.0, 2.5, 0.5])
def test_people_are_covered_between_two_looks(tmp_path: Path, looks: float) -> None:
    run(tmp_path, ALARM, EvidenceParams(before_s=1.0, after_s=1.0, fps=12.5), until=4.2, looks=looks)
    (clip,) = tmp_path.glob("lobby/*.mp4")
    found = [likeness(frame) for _, frame in read(clip)]
    assert max(found) < 0.4, [round(it, 2) for it in found]


def test_someone_is_covered_just_before_they_were_first_found(tmp_path: Path) -> None:
    """They walk from second 0; the detector finds them from second 1 on."""
    evidence = Evidence(tmp_path, CLASSES, SHORT, Clock(START), now=lambda: START)
    for index in range(50):
        at_s = index / 10
        tracks = [track(box=walking(at_s))] * (at_s >= 1.0)
        events = [event(1.0)] * (index == 15) + [event(1.0, 2.0)] * (index == 40)
        evidence.emit(Seen("lobby", at_s, SIZE, tracks, events, frame=scene(at_s)))
    evidence.close()
    (clip,) = tmp_path.glob("lobby/*.mp4")
    assert max(likeness(frame) for _, frame in read(clip)) < 0.4


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(event(1.0, alarm=False), id="recorded only"),
        pytest.param(event(1.0, 2.0), id="an end without a begin"),
    ],
)
def test_what_is_no_alarm_leaves_nothing(tmp_path: Path, report: Event) -> None:
    run(tmp_path, {1.5: [report]}, SHORT)
    assert not list(tmp_path.iterdir())


def test_a_crossing_that_begins_and_ends_at_once_is_kept(tmp_path: Path) -> None:
    crossing = [event(2.0, None, kind="crossing"), event(2.0, 2.0, kind="crossing")]
    run(tmp_path, {2.0: crossing}, SHORT)
    (listing,) = (json.loads(path.read_text()) for path in tmp_path.glob("lobby/*-crossing-1.json"))
    assert (listing["clip_start"], listing["clip_end"]) == ("2026-11-28T08:40:18.320Z", "2026-11-28T08:40:20.000Z")


def test_an_alarm_without_an_end_is_cut_off(tmp_path: Path) -> None:
    run(tmp_path, {1.5: [event(1.0)], 9.0: [event(1.0, 8.0)]}, SHORT.model_copy(update={"most_s": 2.0}), until=10.0)
    (clip,) = tmp_path.glob("lobby/*.mp4")
    assert read(clip)[-1][0] == pytest.approx(3.0, abs=0.25)
    assert json.loads(clip.with_suffix(".json").read_text())["end"] is None


def test_the_end_of_the_run_cuts_what_still_runs(tmp_path: Path) -> None:
    run(tmp_path, {1.5: [event(1.0)]}, SHORT, until=2.0)
    (clip,) = tmp_path.glob("lobby/*.mp4")
    assert read(clip)[-1][0] == pytest.approx(1.92, abs=0.25)


def test_two_alarms_at_once_get_names_of_their_own(tmp_path: Path) -> None:
    run(tmp_path, {1.5: [event(1.0), event(1.0, zone="gate")], 4.0: [event(1.0, 2.0)]}, SHORT)
    assert sorted(path.stem.rpartition("-")[2] for path in tmp_path.glob("lobby/*.mp4")) == ["1", "2"]
    listings = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("lobby/*.json"))]
    assert {it["zone"] for it in listings} == {"door", "gate"}


def test_memory_is_bounded_and_a_clip_begins_later(tmp_path: Path) -> None:
    p = EvidenceParams(before_s=3.0, after_s=1.0, memory_bytes=60_000)
    evidence = Evidence(tmp_path, CLASSES, p, Clock(START), now=lambda: START)
    largest = 0
    for index in range(100):
        at_s = index / 10
        events = [event(4.0)] * (index == 45) + [event(4.0, 5.0)] * (index == 90)
        evidence.emit(Seen("lobby", at_s, SIZE, [track(box=walking(1))], events, frame=scene(1)))
        camera = evidence._cameras["lobby"]
        largest = max(largest, sum(len(shot.jpeg) for shot in camera.shots))
        assert len(camera.sightings) <= 10 * (p.before_s + 60)
    evidence.close()
    assert largest <= p.memory_bytes


def test_memory_does_not_grow_when_nothing_happens(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path, CLASSES, EvidenceParams(before_s=1.0), Clock(START), now=lambda: START)
    held = []
    for index in range(600):
        evidence.emit(Seen("lobby", index / 10, SIZE, [track(box=walking(1))], frame=scene(1)))
        held.append((len(evidence._cameras["lobby"].shots), len(evidence._cameras["lobby"].sightings)))
    evidence.close()
    assert max(held[300:]) == max(held[:300])


def test_the_same_camera_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(tmp_path / name, ALARM, SHORT)
    first, second = ({it.name: it.read_bytes() for it in tmp_path.glob(f"{name}/lobby/*")} for name in ("a", "b"))
    assert first == second


def test_old_evidence_goes_when_new_comes(tmp_path: Path) -> None:
    run(tmp_path, ALARM, SHORT)
    evidence = Evidence(tmp_path, CLASSES, SHORT, Clock(START), now=lambda: START + timedelta(days=31))
    evidence.close()
    assert not list(tmp_path.glob("lobby/*"))


def test_a_disk_that_refuses_costs_the_clip_and_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "lobby").write_text("a file where the folder should be")
    evidence = run(tmp_path, ALARM, SHORT)
    assert (evidence.written, evidence.lost) == (0, 1)
    assert "could not be written" in caplog.text


@pytest.mark.parametrize(
    ("at_s", "lefts"),
    [
        pytest.param(1.5, [1.0, 1.5, 2.0], id="between two looks: both and the middle"),
        pytest.param(1.0, [1.0], id="at a look"),
        pytest.param(0.5, [1.0, 0.5], id="before: the first, and where it came from"),
        pytest.param(2.5, [2.0, 2.5], id="after: the last, and where it went"),
        pytest.param(1.0 - HOLD_S - 0.1, [], id="long before"),
    ],
)
def test_which_boxes_are_masked(at_s: float, lefts: list[float]) -> None:
    path = np.array([1.0, 2.0]), np.array([[1.0, 0, 2, 1], [2.0, 0, 3, 1]])
    found = sorted({round(float(box[0]), 6) for box in boxes_at(path, at_s)})
    assert found == sorted(lefts)


def test_a_gap_that_is_too_long_is_no_way() -> None:
    path = np.array([1.0, 20.0]), np.array([[1.0, 0, 2, 1], [9.0, 0, 10, 1]])
    assert [float(box[0]) for box in boxes_at(path, 1.5)] == [1.0]
    assert boxes_at(path, 10.0) == []


@pytest.mark.parametrize(
    ("camera", "name"), [("lobby", "lobby"), ("../etc", "_etc"), ("a/b c", "a_b_c"), ("", "camera")]
)
def test_a_cameras_folder_stays_below_the_evidence(camera: str, name: str) -> None:
    assert file_name(camera) == name


@pytest.mark.parametrize("bad", [{"fps": 0}, {"days": 0}, {"before_s": -1}, {"colour": "red"}])
def test_params_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EvidenceParams(**bad)


def test_names_hold_utc(tmp_path: Path) -> None:
    run(tmp_path, ALARM, SHORT)
    (clip,) = tmp_path.glob("lobby/*.mp4")
    assert datetime.strptime(clip.stem[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) == START.replace(
        second=18, microsecond=0
    )
