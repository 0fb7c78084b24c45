import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline import augment
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.params import AugmentParams
from pipeline.core.types import Annotation, Assignment, Frame, Split, Truth
from pipeline.io.files import read_json, sha256
from pipeline.io.images import encode_jpeg
from pipeline.io.shards import ShardWriter
from pipeline.io.tables import read_frames, write_annotations, write_frames, write_splits
from pipeline.io.training import TrainingSet
from pipeline.vision.policies import OPERATIONS, policy

SIZE = (128, 96)  # width, height of a frame
ARGUMENTS = ["--frames", "frames", "--annotations", "annotations", "--splits", "splits", "--out", "out"]
SECTIONS: dict[str, dict[str, Any]] = {
    "input": {"width": 64, "height": 64},
    "data": {
        "name": "test",
        "format": "video",
        "path": "clips",
        "labels": {"format": "label_studio", "path": "labels"},
        "classes": ["person", "vehicle"],
        "rename": {},
        "count_only": ["bicycle"],
        "ignore": ["ignore"],
    },
    "augment": {
        "policy": "test",
        "seed": 0,
        "copies": 1,
        "steps": [
            {"op": "rain", "p": 0.5, "strength": 0.5},
            {"op": "noise", "p": 0.5, "strength": 0.5},
            {"op": "low_light", "p": 0.5, "strength": 0.5},
            {"op": "motion_blur", "p": 0.5, "strength": 0.5},
        ],
        "min_visibility": 0.3,
        "min_area": 16.0,
        "shard_frames": 16,
        "preview": 4,
    },
    "compute": {"engine": "local", "workers": 1, "processes": 1, "address": ""},
}
ROLES = {f"{name}{n:02}": split for name, split in (("t", Split.TRAIN), ("v", Split.VAL)) for n in range(20)}
ROLES |= {f"b{n:02}": Split.BENCHMARK for n in range(5)} | {"g00": Split.GAP}
DRAWN = [  # on every frame, source pixels
    Annotation("", "person", 20, 16, 40, 64),
    Annotation("", "vehicle", 80, 40, 40, 40),
    Annotation("", "bicycle", 10, 10, 20, 20),
    Annotation("", "person", 100, 4, 6, 6),  # 3 x 3 pixels in the input: too small
    Annotation("", "vehicle", 0, 80, 30, 16, ignore=True),
]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    frames, rng = [], np.random.default_rng(0)
    with ShardWriter(tmp_path / "frames", 1 << 30) as shards:
        for index, name in enumerate(ROLES):
            image = rng.integers(90, 166, (SIZE[1] // 8, SIZE[0] // 8, 3)).repeat(8, axis=0).repeat(8, axis=1)
            data = encode_jpeg(image.astype(np.uint8), 95)
            place = shards.write(f"{name}.jpg", data)
            where: dict[str, Any] = {"shard": place.shard, "offset": place.offset, "length": place.length}
            frames.append(
                Frame(name, "cam", "clip", index, index / 10, *SIZE, "clip.mp4", sha256=sha256(data), **where)
            )
    write_frames(tmp_path / "frames" / "frames.parquet", frames)
    rows = [Annotation(name, a.label, a.x, a.y, a.width, a.height, a.ignore) for name in ROLES for a in DRAWN]
    write_annotations(tmp_path / "annotations" / "annotations.parquet", rows)
    write_splits(tmp_path / "splits" / "splits.parquet", [Assignment(n, s, f"clip/{s}") for n, s in ROLES.items()])
    configure(tmp_path)
    return tmp_path


def configure(world: Path, section: str = "augment", **changes: Any) -> None:
    sections = SECTIONS | {section: SECTIONS[section] | changes}
    (world / "params.yaml").write_text(yaml.safe_dump(sections))


def outputs(world: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((world / "out").iterdir())}


def test_every_train_frame_and_its_copies(world: Path) -> None:
    augment.main(ARGUMENTS)
    made = TrainingSet.open(world / "out")
    assert made.frame_ids == [name for name, split in ROLES.items() if split is Split.TRAIN for _ in range(2)]
    assert made.copies == [0, 1] * 20
    assert made.picture(0).shape == (64, 64, 3)
    for boxes, labels, ignore in zip(made.boxes, made.labels, made.ignore, strict=True):
        assert sorted(zip(labels.tolist(), ignore.tolist(), boxes.round(2).tolist(), strict=True)) == [
            (0, False, [10, 16, 30, 48]),  # by hand: scale 1/2, 8 pixels of bar above
            (0, True, [50, 10, 53, 13]),
            (1, False, [40, 28, 60, 48]),
            (1, True, [0, 48, 15, 56]),
        ]


def test_originals_are_the_letterboxed_frames_and_copies_are_not(world: Path) -> None:
    augment.main(ARGUMENTS)
    made = TrainingSet.open(world / "out")
    assert sum(np.array_equal(made.picture(i), made.picture(i + 1)) for i in range(0, 40, 2)) < 5
    for i in range(40):
        bars = np.concatenate([made.picture(i)[:8], made.picture(i)[56:]])
        assert (bars == 114).all()


def test_the_report_says_what_was_done(world: Path) -> None:
    augment.main(ARGUMENTS)
    report = read_json(world / "out" / "augment.json")
    operations = report.pop("operations")
    assert report == {
        "policy": "test",
        "size": [64, 64],
        "frames": 20,
        "pictures": 40,
        "boxes": {"person": 40, "vehicle": 40},
        "ignore_regions": 80,
        "made_ignore": {"too_small": 40, "too_hidden": 0},
    }
    assert operations.keys() == {"rain", "noise", "low_light", "motion_blur"}
    assert all(2 < count < 18 for count in operations.values())


def test_frames_outside_the_train_split_are_never_read(world: Path) -> None:
    augment.main(ARGUMENTS)
    before = outputs(world)
    shard = world / "frames" / "shard-00000.tar"
    data, kept = shard.read_bytes(), bytearray(b"\xff" * shard.stat().st_size)
    for frame in read_frames(world / "frames" / "frames.parquet"):
        if ROLES[frame.frame_id] is Split.TRAIN:
            kept[frame.offset : frame.offset + frame.length] = data[frame.offset : frame.offset + frame.length]
    shard.write_bytes(kept)
    augment.main(ARGUMENTS)
    assert outputs(world) == before


def test_annotations_outside_the_train_split_do_not_matter(world: Path) -> None:
    augment.main(ARGUMENTS)
    before = outputs(world)
    rows = [
        Annotation(name, a.label, a.x, a.y, a.width, a.height, a.ignore)
        for name, split in ROLES.items()
        if split is Split.TRAIN
        for a in DRAWN
    ]
    write_annotations(world / "annotations" / "annotations.parquet", rows)
    augment.main(ARGUMENTS)
    assert outputs(world) == before


def test_one_worker_or_two_same_bytes(world: Path) -> None:
    augment.main(ARGUMENTS)
    before = outputs(world)
    configure(world, "compute", workers=2)
    augment.main(ARGUMENTS)
    assert outputs(world) == before


def test_a_frame_s_copies_do_not_depend_on_other_frames(world: Path) -> None:
    augment.main(ARGUMENTS)
    before = TrainingSet.open(shutil.copytree(world / "out", world / "before"))
    write_splits(world / "splits" / "splits.parquet", [Assignment("t07", Split.TRAIN, "clip/train")])
    augment.main(ARGUMENTS)
    alone = TrainingSet.open(world / "out")
    assert alone.frame_ids == ["t07", "t07"]
    assert all(np.array_equal(alone.picture(copy), before.picture(14 + copy)) for copy in range(2))


def test_seeds_differ(world: Path) -> None:
    augment.main(ARGUMENTS)
    before = outputs(world)["training-00000.npy"]
    configure(world, seed=1)
    augment.main(ARGUMENTS)
    assert outputs(world)["training-00000.npy"] != before


@pytest.mark.parametrize(("copies", "preview"), [(0, 4), (0, 0), (3, 1), (1, 256)])
def test_copies_and_preview(world: Path, copies: int, preview: int) -> None:
    configure(world, copies=copies, preview=preview)
    augment.main(ARGUMENTS)
    assert len(TrainingSet.open(world / "out")) == 20 * (copies + 1)
    assert (world / "out" / "preview.png").exists() is bool(preview)
    if preview:
        assert Image.open(world / "out" / "preview.png").size[0] == 1920


def test_preview_takes_frames_with_boxes_evenly() -> None:
    empty = Truth.of([], ("person",))
    full = Truth.of([DRAWN[0]], ("person",))
    assert augment.previewed([empty, *[full] * 9, empty], 3) == {1, 5, 9}
    assert augment.previewed([empty] * 4, 2) == {0, 3}
    assert augment.previewed([full], 5) == {0}
    assert augment.previewed([full] * 5, 0) == set()


def test_an_unknown_operation_stops_before_anything_is_written(world: Path) -> None:
    configure(world, steps=[{"op": "sleet", "p": 1.0, "strength": 1.0}])
    with pytest.raises(ConfigError, match="no such operation: sleet"):
        augment.main(ARGUMENTS)
    assert not (world / "out").exists()


def test_a_broken_train_frame_is_named_and_the_last_set_stays(world: Path) -> None:
    augment.main(ARGUMENTS)
    before = outputs(world)
    frame = read_frames(world / "frames" / "frames.parquet")[3]
    with (world / "frames" / frame.shard).open("r+b") as file:
        file.seek(frame.offset)
        file.write(b"\0" * frame.length)
    with pytest.raises(DataError, match=r"frame t03 \(clip.mp4\): the bytes are no picture"):
        augment.main(ARGUMENTS)
    assert outputs(world) == before
    assert not [path.name for path in world.iterdir() if "partial" in path.name]


def test_a_sliver_of_a_picture_goes_through_every_operation(world: Path) -> None:
    steps = [{"op": op, "p": 1.0, "strength": 1.0} for op in OPERATIONS]
    p = AugmentParams.parse("augment", SECTIONS["augment"] | {"steps": steps})
    image = np.full((1, 2000, 3), 90, np.uint8)
    frame = Frame("t", "cam", "clip", 0, None, 2000, 1, "t.png")
    policies = [policy(p.steps)]
    (made,) = augment.versions(frame, Truth.of([], ("person",)), image, (64, 32), policies, p)
    assert made.example.image.shape == (32, 64, 3)
    assert (np.delete(made.example.image, 15, axis=0) == 114).all()
