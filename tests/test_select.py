"""Which frames may be chosen at all, why, and the whole stage with a real, untrained detector."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from pipeline import select
from pipeline.core.errors import ConfigError
from pipeline.core.footage import Doubt
from pipeline.core.label_quality import Issue, Kind
from pipeline.core.params import SelectParams, SplitParams
from pipeline.core.types import Annotation, Assignment, Detections, Frame, LabelledFrame, Split, Truth
from pipeline.core.weakness import Need
from pipeline.io.files import write_json
from pipeline.io.images import encode_jpeg
from pipeline.io.shards import ShardWriter
from pipeline.io.tables import write_annotations, write_frames, write_labelled, write_splits
from pipeline.modeling.features import View
from pipeline.modeling.state import save_tensors
from pipeline.modeling.zoo import build

ROOT = Path(__file__).parents[1]
CLASSES = ("person", "vehicle")
AT = {"person": 0.4, "vehicle": 0.5}
SPLIT = SplitParams.parse(
    "split",
    {
        "by": "chronological",
        "seed": 0,
        "fractions": {"train": 0.5, "val": 0.2},
        "segment_s": 60.0,
        "gap_s": 0.5,
        "near_duplicate_bits": 2,
    },
)
SECTION = {
    "budget": 3,
    "second_looks": 2,
    "weights": {
        "uncertainty": 1.0,
        "disagreement": 1.0,
        "weakness": 1.0,
        "rarity": 1.0,
        "health": 1.0,
        "suspicion": 2.0,
    },
    "diversity": 1.0,
    "gap_s": 0.5,
    "near_duplicate_bits": 0,
    "pictures": 2,
}
P = SelectParams.parse("select", SECTION)


def frame(index: int, **changes: Any) -> Frame:
    values: dict[str, Any] = {"frame_id": f"f{index:02d}", "camera": "hall", "clip": "hall", "source": "x"}
    size = {"index": index, "timestamp_s": float(index), "width": 200, "height": 100}
    return Frame(**{**values, **size, **changes})


def found(*rows: tuple[list[int], float, int]) -> Detections:
    return Detections(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.float32),
        np.array([r[2] for r in rows], np.int64),
    )


FRAMES = [frame(i) for i in range(21)]  # seconds 0..20: train below 10, val below 14, then the benchmark


def pool(*labelled: int, frames: list[Frame] = FRAMES) -> select.Pool:
    looked_at = {f"f{i:02d}" for i in labelled}
    splits = {f"f{i:02d}": Split.TRAIN if i < 10 else Split.VAL for i in labelled if i < 14}
    return select.pool_of(frames, looked_at, splits, SPLIT)


def test_the_benchmark_and_what_the_split_would_give_it_are_never_chosen() -> None:
    it = pool(0, 5, 12, 18)
    assert [f.index for f in it.unlabelled] == [1, 2, 3, 4, 6, 7, 8, 9, 11, 13]
    assert it.left_out == {"benchmark": 5, "gap": 2}  # 15, 16, 17, 19, 20; and 10 and 14, on the cuts
    assert [f.index for f in it.labelled] == [0, 5, 12]
    assert [f.index for f in it.taken] == [0, 5, 12, 18]


def test_quarantined_frames_are_no_candidates() -> None:
    it = pool(0, frames=[frame(0), frame(1, reason="blurred"), frame(2)])
    assert [f.index for f in it.unlabelled] == []
    assert it.left_out == {"benchmark": 1}


def test_a_frame_that_the_split_cannot_place_is_an_error() -> None:
    with pytest.raises(ConfigError, match="needs times"):
        pool(0, frames=[frame(0), frame(1, timestamp_s=None)])


def view(frame_id: str, boxes: Detections, *embedding: float) -> View:
    return View(frame_id, boxes, boxes, np.array(embedding, np.float32))


TRUTH = Truth(np.array([[0, 0, 40, 80]], np.float32), np.array([0]), np.array([False]))
NEEDS = [Need("camera", "hall", 0.5, "not assessed: 4 of 30 objects"), Need("class", "person", 0.1, "little")]


def judged(*in_doubt: Doubt) -> tuple[list[select.Seen], Any]:
    """Frame 1 is undecided and like training frame 0; frame 2 is unlike it; frame 12's label is missed."""
    it = select.pool_of([frame(0), frame(1), frame(2), *FRAMES[12:]], {"f00", "f12"}, SPLITS, SPLIT)
    assert [f.frame_id for f in (*it.unlabelled, *it.labelled)] == ["f01", "f02", "f13", "f00", "f12"]
    seen = [
        view("f01", found(([0, 0, 40, 80], 0.4, 0)), 1.0, 0.0),
        view("f02", found(), -1.0, 1.0),
        view("f13", found(), 0.0, 0.5),
        view("f00", found(([0, 0, 40, 80], 0.9, 0)), 1.0, 0.0),
        view("f12", found(([0, 0, 40, 80], 0.9, 0), ([100, 0, 140, 80], 0.8, 0)), 0.5, 0.5),
    ]
    return select.judge(it, seen, {"f00": TRUTH, "f12": TRUTH}, NEEDS, in_doubt, AT, 0.5)


SPLITS = {"f00": Split.TRAIN, "f12": Split.VAL}


def test_signals_of_new_and_of_labelled_frames() -> None:
    rows, embeddings = judged()
    undecided, rare, _, clean, doubtful = rows
    assert embeddings.shape == (5, 2)
    assert undecided.signals == pytest.approx(
        {"uncertainty": 1 - np.exp(-1), "disagreement": 0.0, "weakness": 0.3, "health": 0.0, "rarity": 0.0}, abs=1e-6
    )
    assert rare.signals["rarity"] == 1.0
    assert rare.signals["weakness"] == 0.5
    assert clean.signals["suspicion"] == 0.0
    assert "rarity" not in clean.signals
    assert doubtful.signals["suspicion"] == pytest.approx(0.8)
    assert doubtful.issue is not None
    assert doubtful.issue.kind is Kind.MISSING_LABEL


COVERED = Doubt("hall", 1.5, 2.5, 0.8, "the camera was covered: a hand")


def test_a_time_of_doubt_speaks_for_its_frames_alone() -> None:
    rows, _ = judged(COVERED, Doubt("lobby", 0.0, 99.0, 1.0, "another camera"))
    assert [row.signals["health"] for row in rows] == [0.0, 0.8, 0.0, 0.0, 0.0]
    assert [row.doubt for row in rows] == [None, COVERED, None, None, None]


def test_frames_of_a_suspicious_time_are_preferred() -> None:
    it = select.pool_of([frame(0), frame(1), frame(2), *FRAMES[12:]], {"f00", "f12"}, SPLITS, SPLIT)
    p = SelectParams.parse("select", SECTION | {"diversity": 0.0})
    late = Doubt("hall", 12.5, math.inf, 1.0, "the camera was moved: by a third")

    def first(*in_doubt: Doubt) -> tuple[str, str]:
        row = select.told(it, *judged(*in_doubt), AT, p).figures["frames"][0]
        return row["frame_id"], row["reason"]

    assert first()[0] != "f13"
    assert first(late)[0] == "f13"
    assert "the camera was moved: by a third" in first(late)[1]


def test_only_labels_in_doubt_are_looked_at_again() -> None:
    it = select.pool_of([frame(0), frame(1), frame(2), *FRAMES[12:]], {"f00", "f12"}, SPLITS, SPLIT)
    told = select.told(it, *judged(), AT, P)
    assert [seen.frame.frame_id for seen, _, _ in told.again] == ["f12"]
    assert {seen.frame.frame_id for seen, _, _ in told.chosen} == {"f01", "f02", "f13"}
    assert told.figures["in_doubt"] == 1
    assert told.figures["second_looks"][0]["split"] == "val"
    assert [row["rank"] for row in told.figures["frames"]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("signals", "words"),
    [
        pytest.param(
            {"uncertainty": 0.9, "rarity": 0.2},
            "1 box near the threshold, such as person at 0.40 (threshold 0.40); "
            "20% of the candidates are nearer to the training frames",
            id="strongest-first",
        ),
        pytest.param(
            {"weakness": 0.5, "uncertainty": 0.0}, "camera hall: not assessed: 4 of 30 objects", id="weak-condition"
        ),
        pytest.param(
            {"suspicion": 0.1, "uncertainty": 0.0, "disagreement": 0.9},
            "missing label? The model says vehicle at 0.70; its mirror image is seen otherwise",
            id="a-doubt-is-always-told",
        ),
        pytest.param({"health": 0.8, "uncertainty": 0.0}, "the camera was covered: a hand", id="doubt-of-the-camera"),
        pytest.param(
            {"uncertainty": 0.0, "rarity": 0.0},
            "no signal: chosen for its camera's turn and its distance",
            id="nothing-speaks-for-it",
        ),
    ],
)
def test_reasons_are_in_plain_words(signals: dict[str, float], words: str) -> None:
    issue = Issue("f01", Kind.MISSING_LABEL, 0.1, 1, 0.7, (0, 0, 9, 9))
    boxes = found(([0, 0, 40, 80], 0.4, 0))
    it = select.Seen(frame(1), view("f01", boxes, 0.0), boxes, tuple(NEEDS), signals, COVERED, issue)
    assert select.reason(it, P.weights.model_dump(), AT) == words


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """21 frames a second apart, five of them labelled, and a detector that has learned nothing."""
    monkeypatch.chdir(tmp_path)
    sections = yaml.safe_load((ROOT / "params.yaml").read_text())
    sections |= {"input": {"width": 64, "height": 64}, "select": SECTION, "split": SPLIT.model_dump()}
    sections["data"] |= {"classes": list(CLASSES)}
    Path("params.yaml").write_text(yaml.safe_dump(sections))
    rng = np.random.default_rng(0)
    frames = []
    with ShardWriter(tmp_path / "frames", 1 << 20) as shards:
        for i in range(21):
            image: NDArray[np.uint8] = rng.integers(0, 255, (100, 200, 3), dtype=np.uint8)
            data = b"\xff" if i >= 14 else encode_jpeg(image, 90)  # a look at the benchmark would fail
            place = shards.write(f"f{i}.jpg", data)
            frames.append(frame(i, shard=place.shard, offset=place.offset, length=place.length))
    write_frames(tmp_path / "frames" / "frames.parquet", frames)
    write_labels(tmp_path, [0, 4, 8, 12, 18])
    torch.manual_seed(0)
    save_tensors(tmp_path / "model" / "best.safetensors", build("nano", 2, (64, 64), "none").state_dict())
    write_json(tmp_path / "model" / "model.json", {"name": "nano", "classes": CLASSES, "width": 64, "height": 64})
    write_json(tmp_path / "reports" / "operating.json", {"threshold": {"person": 0.01, "vehicle": 0.5}})
    part = {"value": "hall", "state": "not assessed", "reason": "few", "recall_low": None, "low": None, "high": None}
    sheet = {"recall_floor": 0.9, "conditions": [{"condition": "camera", "parts": [part]}]}
    write_json(tmp_path / "reports" / "preconditions.json", sheet)
    write_json(tmp_path / "reports" / "comparisons.json", {"comparisons": []})
    write_json(tmp_path / "gate.json", {"lines": []})
    finding = {"kind": "covered", "start_s": 2.5, "end_s": None, "severity": 0.9, "detail": "a hand"}
    write_json(tmp_path / "fieldtest" / "fieldtest.json", {"health": [{"clip": "hall", "findings": [finding]}]})
    return tmp_path


def write_labels(root: Path, labelled: list[int]) -> None:
    split = {i: Split.TRAIN if i < 10 else Split.VAL if i < 14 else Split.BENCHMARK for i in labelled}
    write_annotations(
        root / "annotations" / "annotations.parquet", [Annotation(f"f{i:02d}", "person", 10, 10, 30, 60) for i in split]
    )
    write_labelled(root / "annotations" / "labelled.parquet", [LabelledFrame(f"f{i:02d}", str(i)) for i in split])
    write_splits(root / "splits" / "splits.parquet", [Assignment(f"f{i:02d}", s, "hall") for i, s in split.items()])


PATHS = {
    "weights": "model",
    "frames": "frames",
    "annotations": "annotations",
    "splits": "splits",
    "evaluation": "reports",
    "fieldtest": "fieldtest",
    "gate": "gate.json",
    "out": "out",
}
ARGUMENTS = [word for name, path in PATHS.items() for word in (f"--{name}", path)]


def test_the_whole_stage_gives_the_same_bytes_twice(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    select.main(ARGUMENTS)
    first = {path.name: path.read_bytes() for path in (world / "out").iterdir()}
    select.main(ARGUMENTS)
    assert {path.name: path.read_bytes() for path in (world / "out").iterdir()} == first
    assert first.keys() == {"select.json", "frames.txt", "second_looks.txt", "sheet.png"}
    report = json.loads(first["select.json"])
    assert report["unlabelled"] == 16
    ids = first["frames.txt"].decode().split()
    assert ids == [row["frame_id"] for row in report["frames"]]
    assert len(ids) == 3
    told = {row["frame_id"]: row["signals"]["health"] for row in report["frames"]}
    assert told == {it: 0.9 if int(it[1:]) > 2 else 0.0 for it in ids}  # covered from 2.5 s on, a frame a second
    assert any("the camera was covered: a hand" in row["reason"] for row in report["frames"])
    assert set(ids) <= {f"f{i:02d}" for i in (1, 2, 3, 5, 6, 7, 9, 11, 13)}
    assert "3 of 16 unlabelled frames to label" in capsys.readouterr().out


def test_where_every_frame_is_labelled_the_list_is_empty(world: Path) -> None:
    write_labels(world, list(range(21)))
    select.main(ARGUMENTS)
    report = json.loads((world / "out" / "select.json").read_bytes())
    assert (report["unlabelled"], report["frames"]) == (0, [])
    assert (world / "out" / "frames.txt").read_bytes() == b""
    assert (world / "out" / "sheet.png").read_bytes().startswith(b"\x89PNG")
