from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline import split
from pipeline.core.errors import ConfigError, DataError, LeakageError
from pipeline.core.params import DataParams, SplitParams
from pipeline.core.partition import partition
from pipeline.core.types import Annotation, Frame, LabelledFrame, Split
from pipeline.io.files import read_json, sha256
from pipeline.io.tables import read_splits, write_annotations, write_frames, write_labelled

DATA = {
    "name": "test",
    "format": "video",
    "path": "clips",
    "labels": {"format": "label_studio", "path": "labels"},
    "classes": ["person", "vehicle"],
    "rename": {},
    "count_only": ["bicycle"],
    "ignore": [],
}
SPLIT = {
    "by": "chronological",
    "seed": 0,
    "fractions": {"train": 0.6, "val": 0.2},
    "segment_s": 10.0,
    "gap_s": 0.5,
    "near_duplicate_bits": 2,
}


def params(**changes: Any) -> SplitParams:
    return SplitParams.parse("split", SPLIT | changes)


def shots(camera: str, count: int = 20) -> list[Frame]:
    """One clip of a fixed camera, a frame a second: they look alike."""
    phash = sha256(camera.encode())[:16]
    return [
        Frame(f"{camera}{i}", camera, camera, i, float(i), 64, 64, f"{camera}.mp4", phash=phash, sha256=f"{camera}{i}")
        for i in range(count)
    ]


def stills(count: int) -> list[Frame]:
    hashes = np.random.default_rng(0).integers(0, 2**63, count, np.uint64).tolist()
    return [
        Frame(f"{i:04}", "cam", "cam", i, None, 64, 64, f"{i:04}.jpg", phash=f"{h:016x}", sha256=f"{i}")
        for i, h in enumerate(hashes)
    ]


def seen(frames: list[Frame]) -> list[LabelledFrame]:
    return [LabelledFrame(frame.frame_id, "task") for frame in frames]


def test_only_usable_and_labelled_frames_are_assigned() -> None:
    frames = shots("a")
    frames[3] = replace(frames[3], reason="too dark")
    assigned = {a.frame_id for a in split.assign(frames, seen(frames[:18]), params())}
    assert assigned == {f"a{i}" for i in range(18)} - {"a3"}


def test_boundaries_stay_when_more_labels_come() -> None:
    frames = shots("a")
    few = {a.frame_id: a for a in split.assign(frames, seen(frames[::4]), params())}
    more = {a.frame_id: a for a in split.assign([*shots("b"), *frames], seen([*shots("b"), *frames[::2]]), params())}
    assert {name: more[name] for name in few} == few


def parting_seed(by: str, a: Frame, b: Frame) -> int:
    """A seed that puts the groups of two frames into two splits."""
    seeds = ((seed, partition([a, b], {}, params(by=by, seed=seed))) for seed in range(99))
    return next(seed for seed, (first, second) in seeds if first.split is not second.split)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"phash": shots("a")[0].phash}, "same look: a.mp4 frame 16 .* b.mp4 frame 0", id="look"),
        pytest.param(
            {"sha256": "a19"}, r"same content: a.mp4 frame 19 .benchmark. and b.mp4 frame 0 .train.", id="content"
        ),
    ],
)
def test_planted_leaks_fail(changes: dict[str, Any], message: str) -> None:
    other = shots("b")
    frames = [*shots("a"), replace(other[0], **changes), *other[1:]]
    with pytest.raises(LeakageError, match=message):
        split.assign(frames, seen(frames), params())


def test_neighbours_in_time_fail_where_an_attribute_parts_them() -> None:
    frames = [replace(f, attributes={"weather": "dry" if f.index < 9 else "wet"}) for f in shots("a")]
    p = params(by="weather", gap_s=1.5, seed=parting_seed("weather", frames[0], frames[-1]))
    with pytest.raises(LeakageError, match=r"same time: a\.mp4 frame 8 .* a\.mp4 frame 9"):
        split.assign(frames, seen(frames), p)


def test_copies_of_single_pictures_are_no_leak_by_image() -> None:
    frames = stills(200)
    copies = [replace(f, frame_id=f"copy {f.frame_id}", sha256=f"copy {f.frame_id}") for f in frames]
    assigned = {a.frame_id: a for a in split.assign(frames + copies, seen(frames + copies), params(by="image"))}
    for frame in frames:
        copy = assigned[f"copy {frame.frame_id}"]
        assert (copy.split, copy.group) == (assigned[frame.frame_id].split, assigned[frame.frame_id].group)


def test_copies_of_single_pictures_fail_where_something_else_parts_them() -> None:
    frames = [replace(f, attributes={"site": "left"}) for f in stills(5)]
    copies = [replace(f, frame_id=f"x{f.frame_id}", sha256="", attributes={"site": "right"}) for f in frames]
    p = params(by="site", seed=parting_seed("site", frames[0], copies[0]))
    with pytest.raises(LeakageError, match=r"ingest\.near_duplicate_bits") as error:
        split.assign(frames + copies, seen(frames + copies), p)
    assert str(error.value).count("same look") == 5


@pytest.mark.parametrize(
    ("frames", "labelled", "changes", "message"),
    [
        pytest.param([], [], {}, "none of 0 frames", id="nothing ingested"),
        pytest.param(shots("a"), [], {}, "none of 20 frames is usable and labelled", id="nothing labelled"),
        pytest.param(shots("a"), seen(shots("a")), {"by": "camera"}, "no frame for", id="one camera by camera"),
        pytest.param(
            shots("a"), seen(shots("a")[:5]), {}, "no frame for val, benchmark", id="only the past is labelled"
        ),
    ],
)
def test_a_split_that_gets_nothing_is_an_error(
    frames: list[Frame], labelled: list[LabelledFrame], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        split.assign(frames, labelled, params(**changes))


def test_no_validation_split_where_none_is_asked_for() -> None:
    frames = shots("a")
    assigned = split.assign(frames, seen(frames), params(fractions={"train": 0.7, "val": 0.0}))
    assert {a.split for a in assigned} == {Split.TRAIN, Split.BENCHMARK}


def write_world(folder: Path, frames: list[Frame], annotations: list[Annotation]) -> list[str]:
    (folder / "params.yaml").write_text(yaml.safe_dump({"data": DATA, "split": SPLIT}))
    write_frames(folder / "frames" / "frames.parquet", frames)
    write_annotations(folder / "annotations" / "annotations.parquet", annotations)
    write_labelled(folder / "annotations" / "labelled.parquet", seen(frames))
    return ["--frames", "frames", "--annotations", "annotations", "--out", "splits"]


def test_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    annotations = [
        Annotation("a0", "person", 0, 0, 9, 9),
        Annotation("a1", "vehicle", 0, 0, 9, 9),
        Annotation("a1", "person", 0, 0, 9, 9, ignore=True),
        Annotation("a19", "person", 0, 0, 9, 9),
        Annotation("a19", "bicycle", 0, 0, 9, 9),
        Annotation("nowhere", "person", 0, 0, 9, 9),
    ]
    arguments = write_world(tmp_path, [*shots("a"), replace(shots("b")[0], reason="blurred")], annotations)
    split.main(arguments)
    report = read_json(tmp_path / "splits" / "split.json")
    assert report["frames"] == 21
    assert report["usable"] == report["labelled"] == 20
    assert report["splits"]["train"] == {
        "frames": 12,
        "objects": {"person": 1, "vehicle": 1, "bicycle": 0},
        "cameras": {"a": 12},
        "groups": 1,
    }
    assert report["splits"]["benchmark"]["objects"] == {"person": 1, "vehicle": 0, "bicycle": 1}
    assert report["warnings"] == ["val holds no person", "val holds no vehicle", "benchmark holds no vehicle"]
    assert "benchmark holds no vehicle" in capsys.readouterr().out
    assert [a.frame_id for a in read_splits(tmp_path / "splits" / "splits.parquet")] == [f"a{i}" for i in range(20)]
    first = {path.name: path.read_bytes() for path in (tmp_path / "splits").iterdir()}
    split.main(arguments)
    assert {path.name: path.read_bytes() for path in (tmp_path / "splits").iterdir()} == first


def test_a_failed_split_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = write_world(tmp_path, shots("a"), [])
    split.main(arguments)
    before = (tmp_path / "splits" / "splits.parquet").read_bytes()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"data": DATA, "split": SPLIT | {"by": "site"}}))
    with pytest.raises(ConfigError, match="manifest column 'site'"):
        split.main(arguments)
    assert (tmp_path / "splits" / "splits.parquet").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["annotations", "frames", "params.yaml", "splits"]


def test_warnings_name_classes_alone() -> None:
    data = DataParams.parse("data", DATA)
    report = split.describe({}, [], [], data)
    assert not [text for text in report["warnings"] if "bicycle" in text]
