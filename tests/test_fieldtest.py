"""The stage through its own main, on real clips with a real model; see tests/footage.py for what it must find."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import yaml

from pipeline import fieldtest
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.types import Split
from pipeline.io.images import decode
from tests.footage import (
    BOX,
    FPS,
    Span,
    ingested,
    person,
    write_clip,
    write_events,
    write_model,
    write_tables,
)

WriteExport = Callable[..., Path]
SECTION: dict[str, Any] = {
    "path": "footage", "target": "cpu", "detect_fps": 5.0, "floor_fps": 0.5, "reference_s": 5.0, "tolerance_s": 1.0,
    "min_event_s": 1.0, "curve": [0.5, 0.9], "margin_s": 1.0, "max_clip_s": 4.0, "cases": 10,
}  # fmt: skip
BRIGHT = [(6.0, 9.0), (22.0, 24.0)]  # the first is an event, the second is not
EVENTS = [(6.0, 9.0), (15.0, 18.0)]  # the second of these is missed
NAMES = ("footage", "export", "frames", "annotations", "splits", "out")


class World:
    """A folder of footage, and what earlier stages have left: nothing ingested, unless a test says so."""

    def __init__(self, root: Path, write_export: WriteExport) -> None:
        self.root = root
        self.model = write_model(root, write_export)
        self.params()
        write_tables(root)

    def params(self, workers: int = 1, **changes: Any) -> None:
        compute = {"engine": "local", "workers": workers, "processes": 1, "address": ""}
        sections = {"fieldtest": SECTION | changes, "compute": compute}
        (self.root / "params.yaml").write_text(yaml.safe_dump(sections))

    def clip(
        self, name: str = "gate.mp4", events: Sequence[Span] | None = EVENTS, bright: Sequence[Span] = BRIGHT,
        seconds: float = 30.0, **more: Any,
    ) -> Path:  # fmt: skip
        """A clip, and what happens in it where that is known."""
        path = write_clip(self.root / "footage/clips" / name, seconds, bright)
        if events is not None:
            write_events((self.root / "footage/events" / name).with_suffix(".json"), events, **more)
        return path

    def site(self, **document: Any) -> None:
        (self.root / "footage/site.yaml").write_text(yaml.safe_dump({"version": 1, **document}))

    def run(self, out: str = "out") -> dict[str, Any]:
        fieldtest.main([part for name in NAMES for part in (f"--{name}", out if name == "out" else name)])
        result: dict[str, Any] = json.loads((self.root / out / "fieldtest.json").read_bytes())
        return result

    def files(self, out: str = "out") -> dict[str, bytes]:
        paths = [path for path in (self.root / out).rglob("*") if path.is_file()]
        return {path.relative_to(self.root / out).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def world(tmp_path: Path, write_export: WriteExport, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(tmp_path)
    return World(tmp_path, write_export)


def counts(found: dict[str, Any]) -> tuple[int, int, int]:
    return found["events"], found["found"], found["false_alarms"]


def test_one_event_is_found_one_missed_and_one_alarm_is_false(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.clip()
    it = world.run()
    assert counts(it) == (2, 1, 1)
    assert it["hours"] == pytest.approx(30 / 3600)
    assert it["false_alarms_per_hour"] == pytest.approx(120)
    assert (it["event_recall_low"], it["event_recall_high"]) == pytest.approx((0.0126, 0.9874), abs=1e-4)
    assert it["false_alarms_per_hour_high"] == pytest.approx(120 * 5.572, rel=1e-3)  # Garwood (1936): one seen
    assert it["time_to_detect_s"]["median"] == pytest.approx(0.6)
    assert (it["target"], it["artifact"], it["weights"]) == ("cpu", "fp32", "w" * 64)
    (seen,) = it["watched"]
    assert (seen["camera"], seen["footage"], seen["frames"]) == ("gate", "gate.mp4", 150)
    assert 15 <= seen["frames_detected"] < 50  # every two seconds, and where something is new
    assert it["left_out"] == {}
    assert it["tracking"] is None
    assert "1 of 2 events found, 1 false alarms in 0.50 minutes (120 an hour, " in capsys.readouterr().out


def test_the_curve_is_a_table_too(world: World) -> None:
    world.clip()
    it = world.run()
    rows = list(csv.DictReader((world.root / "out/curve.csv").read_text().splitlines()))
    assert [(float(row["threshold"]), float(row["missed_share"])) for row in rows] == [(0.5, 0.5), (0.9, 1.0)]
    # A threshold of the curve is that of all classes, and to this model the dark is a vehicle: one more false alarm.
    assert [float(row["false_alarms_per_hour"]) for row in rows] == pytest.approx([240, 120])
    assert [row["threshold"] for row in it["curve"]] == [0.5, 0.9]


def seconds_of(path: Path) -> tuple[list[float], tuple[int, int]]:
    """Decode a clip to its end: the time of each frame, and the size."""
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        assert (stream.codec.name, stream.pix_fmt) == ("h264", "yuv420p")
        times = [frame.time or 0.0 for frame in container.decode(stream)]
        return times, (stream.width, stream.height)


def test_every_missed_event_and_alarm_has_a_clip_that_plays_and_a_still(world: World) -> None:
    world.clip()
    cases = world.run()["cases"]
    assert [(it["kind"], it["label"], it["score"]) for it in cases] == [
        ("missed", "person", None),
        ("false alarm", "person", pytest.approx(0.8, abs=0.01)),
        ("found", "person", pytest.approx(0.8, abs=0.01)),
    ]
    assert [(it["start_s"], it["end_s"]) for it in cases[:2]] == [(15.0, 18.0), pytest.approx((22.0, 22.6))]
    for it, frames in zip(cases, (21, 14), strict=False):  # a second before and after, 4 s at most, at five a second
        times, size = seconds_of(world.root / "out" / it["clip"])
        assert len(times) == frames
        assert times == pytest.approx([n / FPS for n in range(frames)], abs=1e-4)
        assert size == (480, 480)
        assert cv2.imread(str(world.root / "out" / it["still"])) is not None
    named = {name for it in cases for name in (it["clip"], it["still"])}
    assert world.files().keys() == {"fieldtest.json", "curve.csv", *named}


def test_as_many_clips_as_are_asked_for_each_kind_in_turn(world: World) -> None:
    world.params(cases=3)
    world.clip(events=[(3.0, 5.0), (15.0, 18.0)], bright=[(9.0, 10.4), (22.0, 24.0)])
    it = world.run()
    assert counts(it) == (2, 0, 2)
    assert [case["kind"] for case in it["cases"]] == ["missed", "false alarm", "missed"]


@pytest.mark.parametrize(("margin", "end"), [(0.0, 9.9), (60.0, 10.0)])
def test_a_clip_stays_within_what_was_tried(world: World, margin: float, end: float) -> None:
    world.params(margin_s=margin, max_clip_s=600.0)
    world.clip(bright=[], events=[(8.7, end)], seconds=10.0)
    (case,) = world.run()["cases"]
    times, _ = seconds_of(world.root / "out" / case["clip"])
    assert len(times) == (7 if margin == 0 else 50)  # from the frame at 8.6, which is what is seen at 8.7


def test_nothing_to_try_is_no_failure(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    (world.root / "footage").mkdir()
    it = world.run()
    assert (it["hours"], it["events"], it["watched"], it["cases"], it["left_out"]) == (0, 0, [], [], {})
    assert it["event_recall"] is it["false_alarms_per_hour"] is None
    assert "nothing was assessed" in capsys.readouterr().out
    assert (world.root / "out/clips").is_dir()  # DVC asks for it
    assert len((world.root / "out/curve.csv").read_text().splitlines()) == 3


def test_a_clip_of_which_nobody_knows_what_happens_is_left_out(world: World) -> None:
    world.clip(events=None)
    it = world.run()
    assert it["hours"] == 0
    assert it["left_out"] == {"gate.mp4": "no events: neither a file of them, nor tracks in its annotations"}


def test_hours_without_an_event_bound_the_false_alarms(world: World) -> None:
    world.clip(events=[], bright=[])
    it = world.run()
    assert counts(it) == (0, 0, 0)
    assert (it["event_recall"], it["false_alarms_per_hour"]) == (None, 0.0)
    assert it["false_alarms_per_hour_high"] == pytest.approx(120 * 3.689, rel=1e-3)


def test_a_broken_clip_is_left_out_with_its_reason_and_the_others_are_tried(world: World) -> None:
    world.clip()
    broken = world.clip("broken.mp4")
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    world.clip("words.mp4", seconds=1.0).write_text("no video at all")
    it = world.run()
    assert counts(it) == (2, 1, 1)
    assert it["left_out"].keys() == {"broken.mp4", "words.mp4"}
    assert all(len(reason) > 10 for reason in it["left_out"].values())


def test_what_lies_before_the_break_can_be_tried_and_shown(world: World) -> None:
    path = world.clip("gate.mkv", events=[(6.0, 9.0), (10.5, 13.0)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    tested = ingested("gate", [0.0, 12.0, 13.0])
    write_tables(world.root, tested, [Split.BENCHMARK, Split.BENCHMARK, Split.TRAIN])
    it = world.run()
    assert it["left_out"] == {}
    assert counts(it) == (1, 1, 0)  # with so short a pause the two are one incident
    world.params(min_event_s=0.0, margin_s=30.0)
    write_events(world.root / "footage/events/gate.json", [(0.5, 1.0)])
    (case, false) = world.run()["cases"]
    assert (case["kind"], false["kind"]) == ("missed", "false alarm")
    assert len(seconds_of(world.root / "out" / case["clip"])[0]) == 21


def test_only_the_benchmark_of_what_was_ingested_is_tried(world: World) -> None:
    world.clip()
    frames = ingested("gate", [2.0, 11.0, 12.0, 19.0, 20.0, 28.0])
    splits = [Split.TRAIN, Split.VAL, Split.BENCHMARK, Split.BENCHMARK, Split.GAP, Split.TRAIN]
    write_tables(world.root, frames, splits)
    it = world.run()
    (seen,) = it["watched"]
    assert (seen["start_s"], seen["end_s"]) == pytest.approx((12.0, 19.2))
    assert counts(it) == (1, 0, 0)
    write_tables(world.root, frames, [Split.TRAIN] * 6)
    it = world.run()
    assert it["left_out"] == {"gate.mp4": "nothing of it is held out: no frame of it is in the benchmark split"}


def test_frames_that_nobody_labelled_or_that_are_unusable_hold_nothing_out(world: World) -> None:
    world.clip()
    frames = [*ingested("gate", [2.0], reason="blurred"), *ingested("gate", [9.0])]
    write_tables(world.root, frames, [Split.TRAIN])
    (seen,) = world.run()["watched"]
    assert (seen["start_s"], seen["end_s"]) == pytest.approx((0.0, 30.0))


def test_annotated_tracks_are_events_where_no_file_says_them(world: World) -> None:
    world.clip(events=None)
    frames = ingested("gate", [n / 2 for n in range(2, 40)])  # 1 to 19.5 s
    there = [it for it in frames if any(s <= it.timestamp_s < e for s, e in EVENTS)]  # type: ignore[operator]
    write_tables(world.root, frames, [Split.BENCHMARK] * len(frames), [person(it) for it in there])
    it = world.run()
    assert counts(it) == (2, 1, 0)  # after the last labelled frame nobody said what happens
    assert it["ignored"] == 1
    assert it["hours"] == pytest.approx(18.5 / 3600)
    world.site(rules={"classes": {"person": {}}}, cameras={"gate": {"zones": [zone("left", 0.0, 0.4)]}})
    it = world.run()
    assert counts(it) == (0, 0, 0)  # nobody stands in that zone: neither an event nor an alarm


def test_an_object_without_a_track_is_no_event(world: World) -> None:
    world.clip(events=None)
    frames = ingested("gate", [1.0, 2.0])
    write_tables(world.root, frames, [Split.BENCHMARK] * 2, [person(frames[0], track="")])
    assert "no events" in world.run()["left_out"]["gate.mp4"]


def test_nothing_is_asked_under_an_ignore_region(world: World) -> None:
    world.clip()
    frames = ingested("gate", [21.0 + n / FPS for n in range(20)])
    write_tables(world.root, frames, [Split.BENCHMARK] * 20, [person(it, track="", ignore=True) for it in frames])
    it = world.run()
    assert (*counts(it), it["ignored"]) == (2, 1, 0, 1)
    assert it["hours"] == pytest.approx(26 / 3600)


def test_an_ignore_region_that_is_always_there_leaves_its_clip_out(world: World) -> None:
    world.clip("other.mp4")
    world.clip()
    frames = ingested("gate", [n / FPS for n in range(150)])
    write_tables(world.root, frames, [Split.BENCHMARK] * 150, [person(it, track="", ignore=True) for it in frames])
    it = world.run()
    assert counts(it) == (2, 1, 1)
    assert "all its time is ignored" in it["left_out"]["gate.mp4"]


def zone(name: str, left: float, right: float) -> dict[str, Any]:
    corners = [[left, 0.5], [right, 0.5], [right, 1.0], [left, 1.0]]
    return {"name": name, "kind": "include", "polygon": corners}


def test_zones_of_the_site_are_what_counts(world: World) -> None:
    world.clip(zone="door", condition="night")
    world.site(rules={"classes": {"person": {}}}, cameras={"gate": {"zones": [zone("door", 0.3, 0.7)]}})
    it = world.run()
    assert counts(it) == (2, 1, 1)
    assert set(it["zone"]) == {"door"}
    assert it["condition"]["night"]["event_recall"] == 0.5
    world.site(rules={"classes": {"person": {}}}, cameras={"gate": {"zones": [zone("hedge", 0.8, 1.0)]}})
    it = world.run()
    assert counts(it) == (2, 0, 0)


@pytest.mark.parametrize("camera", ["gate", "yard"])
def test_a_site_that_the_model_cannot_serve_is_an_error(world: World, camera: str) -> None:
    world.clip(f"{camera}.mp4", seconds=1.0)
    world.site(rules={"classes": {"persons": {}}}, cameras={"gate": {}})
    with pytest.raises(ConfigError, match="did you mean 'person'"):
        world.run()


def test_clips_in_a_folder_are_one_cameras(world: World) -> None:
    world.clip("gate/monday.mp4")
    world.clip("gate/tuesday.mp4", seconds=12.0)
    world.clip("yard/monday.mp4", events=[], bright=[], seconds=12.0)
    it = world.run()
    assert set(it["camera"]) == {"gate", "yard"}
    assert it["camera"]["gate"]["hours"] == pytest.approx(42 / 3600)
    assert counts(it["camera"]["gate"]) == (3, 2, 1)
    assert [seen["footage"] for seen in it["watched"]] == ["gate/monday.mp4", "gate/tuesday.mp4", "yard/monday.mp4"]


def test_true_tracks_give_tracking_scores(world: World) -> None:
    world.clip()
    rows = [
        f"{n + 1},{i},{BOX[0]},{BOX[1]},48,48,1,1,1"
        for n in range(30 * FPS)
        for i, (start, end) in enumerate(EVENTS)
        if start <= n / FPS < end
    ]
    path = world.root / "footage/tracks/gate.txt"
    path.parent.mkdir()
    path.write_text("\n".join(rows))
    scores = world.run()["tracking"]
    # Of 30 true boxes 15 are found under one id, of 25 of ours 10 are nobody's.
    assert (scores["hota"], scores["mota"], scores["idf1"]) == pytest.approx((0.375**0.5, 1 - 25 / 30, 30 / 55))
    assert scores["camera"]["gate"]["hota"] == scores["hota"]
    path.write_text(rows[0].replace("48,48,1,1,1", "48,48,1,-1,-1,-1"))
    with pytest.raises(DataError, match="has no class"):
        world.run()


def test_the_bytes_are_the_same_for_any_workers_and_again(world: World) -> None:
    world.clip()
    world.clip("yard.mp4", seconds=24.0)
    world.run("one")
    world.run("again")
    world.params(workers=2)
    world.run("two")
    first = world.files("one")
    assert len(first) == 2 + 2 * 3 * 2  # of two clips three cases each, with a clip and a still
    assert world.files("again") == first
    assert world.files("two") == first


def test_a_run_takes_the_place_of_the_one_before(world: World) -> None:
    path = world.clip()
    world.run()
    path.unlink()
    world.run()
    assert world.files().keys() == {"fieldtest.json", "curve.csv"}


def test_what_was_seen_of_the_camera_is_told(world: World) -> None:
    world.clip(events=[], bright=[(14.0, 24.0)], seconds=24.0)
    (it,) = world.run()["health"]
    assert (it["camera"], it["clip"], it["judged"]) == ("gate", "gate", True)
    assert it["findings"]
    assert all(finding["start_s"] >= 14 for finding in it["findings"])
    for finding in it["findings"]:
        picture = decode((world.root / "out" / finding["picture"]).read_bytes())
        before, then = np.array_split(picture, 2, axis=1)
        assert then.mean() > before.mean() + 50  # what was dark has become bright


def test_a_few_seconds_say_nothing_of_drift(world: World) -> None:
    world.clip()
    (it,) = world.run()["drift"]
    assert (it["camera"], it["footage"], it["result"]) == ("gate", "gate.mp4", "not assessable")
    assert {shift["figure"] for shift in it["shifts"]} == {"confidence", "box size", "count"}


def test_a_model_that_does_not_run_is_no_fault_of_the_footage(world: World) -> None:
    world.clip(seconds=2.0)
    (world.model / "model.onnx").write_bytes(b"\0")
    with pytest.raises(DataError, match=r"model\.onnx"):
        world.run()
    assert not (world.root / "out").exists()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        pytest.param({"events/gate.json": '[{"class": "person"}]'}, "enter_s", id="events"),
        pytest.param({"site.yaml": "version: 2"}, "version", id="site"),
        pytest.param({"tracks/gate.txt": "1,2,3"}, "line 1", id="tracks"),
    ],
)
def test_truth_that_is_none_is_an_error(world: World, harm: dict[str, str], told: str) -> None:
    world.clip(seconds=2.0)
    for name, text in harm.items():
        (world.root / "footage" / name).parent.mkdir(exist_ok=True)
        (world.root / "footage" / name).write_text(text)
    with pytest.raises((DataError, ConfigError), match=told):
        world.run()


def test_a_target_that_was_not_exported_is_named(world: World) -> None:
    world.params(target="intel")
    with pytest.raises(DataError, match="intel"):
        world.run()
