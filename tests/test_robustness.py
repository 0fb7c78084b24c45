"""Figures that can be worked out by hand, and the whole stage with a real, untrained detector."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from pipeline import robustness
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.params import RobustnessParams
from pipeline.core.types import Annotation, Assignment, Detections, Frame, Split, Truth
from pipeline.io.files import write_json
from pipeline.io.images import encode_jpeg
from pipeline.io.shards import ShardWriter
from pipeline.io.tables import read_frames, write_annotations, write_frames, write_splits
from pipeline.modeling.detector import Detector, Target
from pipeline.modeling.state import save_tensors
from pipeline.modeling.zoo import build
from pipeline.robustness import Sample, Setting, Variant
from pipeline.runtime.contract import OutputContract
from pipeline.vision.corruptions import FAMILIES

CLASSES = ("person", "vehicle")
SECTION = {
    "seed": 0,
    "frames": 3,
    "corruptions": ["fog", "camera_shift"],
    "severities": [5, 1],
    "patch": {"frames": 2, "steps": 1, "area": 0.1},
}
P = RobustnessParams.parse("robustness", SECTION)
BOX, FAR = (0, 0, 20, 40), (100, 0, 120, 40)


def truth(*rows: tuple[tuple[float, ...], int], ignore: bool = False) -> Truth:
    corners = np.array([r[0] for r in rows], np.float32).reshape(-1, 4)
    return Truth(corners, np.array([r[1] for r in rows], np.int64), np.full(len(rows), ignore))


def found(*rows: tuple[tuple[float, ...], float, int]) -> Detections:
    return Detections(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.float32),
        np.array([r[2] for r in rows], np.int64),
    )


def frame(index: int, camera: str = "hall") -> Frame:
    return Frame(f"f{index}", camera, camera, index, float(index), 200, 100, "x")


BOTH = truth((BOX, 0), (FAR, 1))
PERFECT = found((BOX, 1.0, 0), (FAR, 1.0, 1))
PERSON_ONLY = found((BOX, 1.0, 0))


def test_a_perfect_detector_keeps_everything() -> None:
    ways = robustness.variants(P)
    scores = robustness.score({way: ([BOTH], [PERFECT]) for way in ways}, CLASSES)
    assert scores["rPC"]["all"] == {
        "AP": pytest.approx(1),
        "AP50": pytest.approx(1),
        "class": {name: {"AP": pytest.approx(1), "AP50": pytest.approx(1)} for name in CLASSES},
    }


def test_mean_and_relative_performance_by_hand() -> None:
    """Fog hides the vehicle at severity 1 and both at 5; the shift hides nothing. Plain frames: AP 1."""
    results = {
        Variant(): ([BOTH], [PERFECT]),
        Variant("fog", 1): ([BOTH], [PERSON_ONLY]),
        Variant("fog", 5): ([BOTH], [found()]),
        Variant("camera_shift", 1): ([BOTH], [PERFECT]),
        Variant("camera_shift", 5): ([BOTH], [PERFECT]),
    }
    scores = robustness.score(results, CLASSES)
    fog = scores["corruptions"]["fog"]
    assert [fog["severity"][s]["AP"] for s in ("1", "5")] == pytest.approx([0.5, 0])
    assert fog["mean"]["AP"] == pytest.approx(0.25)  # (0.5 + 0) / 2
    assert {family: it["AP"] for family, it in scores["mPC"].items()} == pytest.approx(
        {"common": 0.25, "surveillance": 1.0, "all": 0.625}
    )
    assert scores["mPC"]["all"]["class"]["person"]["AP"] == pytest.approx(0.75)  # (1 + 0) / 2 in fog, 1 shifted
    assert scores["mPC"]["all"]["class"]["vehicle"]["AP"] == pytest.approx(0.5)
    assert scores["corruptions"]["camera_shift"]["steps"][0] == "0.03 of the short side"
    assert "steps" not in fog


def test_what_is_lost_is_relative_to_the_same_frames() -> None:
    """Of two persons one is found plain, none of them in fog."""
    two = truth((BOX, 0), (FAR, 0))
    results = {Variant(): ([two], [PERSON_ONLY]), Variant("fog", 1): ([two], [found()])}
    scores = robustness.score(results, CLASSES)
    assert scores["plain"]["AP50"] == pytest.approx(51 / 101)  # recall 0.5: 51 of COCO's 101 recall points
    assert scores["rPC"]["all"]["AP50"] == 0
    half = robustness.score({Variant(): ([two], [PERSON_ONLY]), Variant("fog", 1): ([two], [PERSON_ONLY])}, CLASSES)
    assert half["rPC"]["all"]["AP50"] == pytest.approx(1)


def test_without_objects_there_are_no_figures() -> None:
    scores = robustness.score({way: ([truth()], [found()]) for way in robustness.variants(P)}, CLASSES)
    assert scores["plain"] == {"class": {}}
    assert scores["rPC"]["all"] == {}
    assert robustness.headline(scores | {"frames": 1, "variants": 5}) == "no object, 1 frames in 5 variants"


def test_a_share_of_nothing_is_left_out() -> None:
    assert robustness.relative({"AP": 0.0, "AP50": 0.2}, {"AP": 0.0, "AP50": 0.4}) == {"AP50": 0.5}


def test_cameras_are_balanced_and_the_choice_is_stable() -> None:
    frames = [frame(i, camera) for i, camera in enumerate(["a"] * 20 + ["b"] * 3 + ["c"] * 5)]
    sample = Sample(tuple(frames), tuple(truth() for _ in frames))
    cameras = [it.camera for it in robustness.balanced(sample, 10, 0).frames]
    assert [cameras.count(name) for name in "abc"] == [4, 3, 3]
    assert robustness.balanced(sample, 10, 0).frames == robustness.balanced(sample, 10, 0).frames
    assert robustness.balanced(sample, 10, 0).frames != robustness.balanced(sample, 10, 1).frames
    assert robustness.balanced(sample, 99, 0).frames == sample.frames


def test_each_variant_once_the_plain_frame_first_severities_rising() -> None:
    assert robustness.variants(P) == [
        Variant(),
        Variant("fog", 1),
        Variant("fog", 5),
        Variant("camera_shift", 1),
        Variant("camera_shift", 5),
    ]


def test_the_default_names_every_corruption() -> None:
    section = yaml.safe_load((Path(__file__).parents[1] / "conf/robustness/default.yaml").read_text())
    assert section["corruptions"] == [name for family in FAMILIES.values() for name in family]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"severities": [0]}, id="severity 0"),
        pytest.param({"severities": []}, id="no severity"),
        pytest.param({"corruptions": ["fog", "fog"]}, id="twice"),
        pytest.param({"patch": {"frames": 1, "steps": 1, "area": 0.2}}, id="patch above a tenth"),
    ],
)
def test_bad_params_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        RobustnessParams.parse("robustness", SECTION | changes)


def test_truth_moves_with_the_picture() -> None:
    """Shifted by 90 of 100 pixels: half of the first box is left, a fifth of the second, nothing of the third."""
    boxes = truth(((0, 0, 20, 40), 0), ((5, 0, 30, 40), 1), ((50, 0, 60, 40), 0))
    moved = robustness.move_truth(boxes, np.array([[1, 0, 90], [0, 1, 0.0]]), (100, 100))
    assert moved.boxes.tolist() == [[90, 0, 100, 40], [95, 0, 100, 40]]
    assert moved.labels.tolist() == [0, 1]
    assert moved.ignore.tolist() == [False, True]


def test_the_recall_that_the_patch_costs() -> None:
    counts = {"plain": np.array([8, 1]), "noise": np.array([7, 1]), "patch": np.array([3, 0])}
    report = robustness.patch_report(np.array([10, 2]), counts, CLASSES)
    assert report["hits"] == {"plain": 9, "noise": 8, "patch": 3}
    assert report["noise_recall_drop"] == pytest.approx(1 / 12)
    assert report["patch_recall_drop"] == pytest.approx(6 / 12)
    assert report["class"]["vehicle"] == {
        "objects": 2, "hits": {"plain": 1, "noise": 1, "patch": 0}, "noise_recall_drop": 0.0, "patch_recall_drop": 0.5,
    }  # fmt: skip
    assert "patch_recall_drop" not in robustness.patch_report(np.array([0, 2]), counts, CLASSES)["class"]["person"]


class Counting(Detector):
    """Finds nothing, and counts the pictures it sees."""

    def __init__(self) -> None:
        super().__init__(2)
        self.seen = 0
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def loss(self, images: torch.Tensor, targets: list[Target]) -> dict[str, torch.Tensor]:
        raise NotImplementedError

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen += len(images)
        return torch.zeros(len(images), 1, 4), torch.zeros(len(images), 1, 2)


def setting(workers: int) -> Setting:
    rule = OutputContract(boxes="boxes", scores="scores", score_floor=0.1, nms_iou=0.6, max_detections=5)
    return Setting((64, 64), rule, 4, 0.5, workers)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight frames of two cameras, half validation and half benchmark, and a detector that has learned nothing."""
    monkeypatch.chdir(tmp_path)
    data = {"name": "x", "format": "images", "path": "x", "labels": {"format": "coco", "path": "x"}}
    data |= {"classes": list(CLASSES), "rename": {}, "count_only": [], "ignore": []}
    evaluate = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())["evaluate"]
    sections = {"input": {"width": 64, "height": 64}, "data": data, "robustness": SECTION}
    sections |= {
        "evaluate": evaluate | {"batch_size": 4},
        "compute": {"engine": "local", "workers": 2, "processes": 1, "address": ""},
    }
    Path("params.yaml").write_text(yaml.safe_dump(sections))
    rng = np.random.default_rng(0)
    frames = []
    with ShardWriter(tmp_path / "frames", 1 << 20) as shards:
        for i in range(8):
            image: NDArray[np.uint8] = rng.integers(0, 255, (100, 200, 3), dtype=np.uint8)
            place = shards.write(f"f{i}.jpg", encode_jpeg(image, 90))
            camera = "ab"[i % 2]
            frames.append(Frame(f"f{i}", camera, "c", i, i / 2, 200, 100, "x", place.shard, place.offset, place.length))
    write_frames(tmp_path / "frames" / "frames.parquet", frames)
    boxes = [Annotation(f.frame_id, CLASSES[f.index % 2], 10, 10, 80, 80) for f in frames]
    write_annotations(tmp_path / "annotations" / "annotations.parquet", boxes)
    splits = [Assignment(f.frame_id, Split.VAL if f.index < 4 else Split.BENCHMARK, "c") for f in frames]
    write_splits(tmp_path / "splits" / "splits.parquet", splits)
    write_json(tmp_path / "operating.json", {"threshold": dict.fromkeys(CLASSES, 0.3)})
    torch.manual_seed(0)
    save_tensors(tmp_path / "model" / "best.safetensors", build("nano", 2, (64, 64), "none").state_dict())
    write_json(tmp_path / "model" / "model.json", {"name": "nano", "classes": CLASSES, "width": 64, "height": 64})
    return tmp_path


PATHS = {"weights": "model", "frames": "frames", "annotations": "annotations", "splits": "splits"}
PATHS |= {"operating": "operating.json", "out": "out"}
ARGUMENTS = [word for name, path in PATHS.items() for word in (f"--{name}", path)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_whole_stage_gives_the_same_bytes_for_any_number_of_workers(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robustness.main(ARGUMENTS)
    first = contents(world / "out")
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("workers: 2", "workers: 1"))
    robustness.main(ARGUMENTS)
    assert contents(world / "out") == first
    assert list(first) == ["figures/corruptions.png", "figures/curves.png", "figures/patch.png", "robustness.json"]
    assert "3 frames in 5 variants" in capsys.readouterr().out
    scores = json.loads(first["robustness.json"])
    assert scores["cameras"] == {"a": 2, "b": 1} or scores["cameras"] == {"a": 1, "b": 2}
    assert scores["patch"]["objects"] == 3


def test_each_variant_of_each_frame_passes_the_network_once(world: Path) -> None:
    frames = tuple(read_frames(world / "frames" / "frames.parquet"))
    sample = Sample(frames, tuple(BOTH for _ in frames))
    ways = robustness.variants(P)
    model = Counting()
    results = robustness.detect(model, robustness.shown(world / "frames", sample, ways, setting(3)), setting(3))
    assert model.seen == len(frames) * len(ways)
    assert {way: len(truths) for way, (truths, _) in results.items()} == dict.fromkeys(ways, len(frames))


def test_no_patch_where_none_is_asked_for(world: Path) -> None:
    changed = SECTION | {"patch": {"frames": 0, "steps": 1, "area": 0.1}}
    sections = yaml.safe_load(Path("params.yaml").read_text()) | {"robustness": changed}
    Path("params.yaml").write_text(yaml.safe_dump(sections))
    robustness.main(ARGUMENTS)
    scores = json.loads((world / "out/robustness.json").read_bytes())
    assert scores["patch"] == {"not_assessed": "not asked for: robustness.patch.frames is 0"}
    assert not (world / "out/figures/patch.png").exists()


def test_without_a_benchmark_there_is_nothing_to_say(world: Path) -> None:
    write_splits(world / "splits" / "splits.parquet", [Assignment("f0", Split.VAL, "hall")])
    with pytest.raises(DataError, match="benchmark split holds no frame"):
        robustness.main(ARGUMENTS)


def test_a_misspelt_corruption_stops_before_any_work(world: Path) -> None:
    sections = yaml.safe_load(Path("params.yaml").read_text())
    sections["robustness"]["corruptions"] = ["mist"]
    Path("params.yaml").write_text(yaml.safe_dump(sections))
    with pytest.raises(ConfigError, match="no such corruption: mist"):
        robustness.main(ARGUMENTS)
