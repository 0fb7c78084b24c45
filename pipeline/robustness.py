"""What does the detector still find in bad weather, noise, dirt, other colours, or behind a patch made to hide from it?

Reads the trained weights, frames, annotations, splits and the operating thresholds. A part of the benchmark, balanced
over the cameras, is corrupted in every way and severity that params.yaml names; each picture passes the network once.
Writes to --out: robustness.json (AP by corruption and severity, mPC and rPC, the patch's effect) and figures/.
"""

import hashlib
from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.config import PARAMS
from pipeline.core.errors import DataError
from pipeline.core.matching import match
from pipeline.core.parallel import map_ahead
from pipeline.core.params import ComputeParams, DataParams, EvaluateParams, InputParams, RobustnessParams
from pipeline.core.progress import progress
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.types import Detections, Frame, Split, Truth
from pipeline.io.coco_eval import coco_scores
from pipeline.io.documents import thresholds
from pipeline.io.files import whole_folder, write_bytes, write_json
from pipeline.io.frames import labelled, pictures
from pipeline.io.images import decode
from pipeline.io.robustness_figure import severity_curves
from pipeline.io.shards import ShardReader
from pipeline.modeling.detector import Detector
from pipeline.modeling.device import device, on_device, shared_cores
from pipeline.modeling.patch import LEAST, Patch, Scene, random_patch, sides, train_patch, worn
from pipeline.modeling.predict import candidates, rule_of
from pipeline.modeling.zoo import load
from pipeline.runtime.contract import OutputContract
from pipeline.runtime.postprocess import select
from pipeline.runtime.preprocess import Placement, letterbox
from pipeline.vision.corruptions import FAMILIES, STEPS, check, corrupt, motion, moved
from pipeline.vision.draw import caption, encode_png, sheet

VISIBLE = 0.3  # share of a moved object that must still be in the picture; less becomes an ignore region
CELL = 360  # pixels: width of a picture on the sheet
COLUMNS = 4

Values = dict[str, Any]  # AP and AP50, overall and below `class` by class


@dataclass(frozen=True, slots=True)
class Variant:
    """One way in which every frame is shown; no corruption is the plain frame."""

    corruption: str = ""
    severity: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One variant of one frame, as the network sees it."""

    variant: Variant
    image: NDArray[np.uint8]  # letterboxed
    placement: Placement
    size: tuple[int, int]  # width and height of the frame
    truth: Truth


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Some frames of one split, and what is truly in each."""

    frames: tuple[Frame, ...]
    truths: tuple[Truth, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """How pictures go in and detections come out."""

    size: tuple[int, int]  # width and height of the input
    rule: OutputContract
    batch_size: int
    match_iou: float
    workers: int


@dataclass(frozen=True, slots=True, eq=False)
class Wearer:
    """A frame with objects that are large enough to wear a patch. M = number of boxes of its truth."""

    scene: Scene
    truth: Truth
    wearing: NDArray[np.bool_]  # (M,)
    placement: Placement
    size: tuple[int, int]  # width and height of the frame


Result = tuple[list[Truth], list[Detections]]  # of one variant, by frame


def balanced(sample: Sample, count: int, seed: int) -> Sample:
    """So many frames by chance, from each camera in turn, in the order given; all where there are fewer."""

    def chance(i: int) -> str:
        return hashlib.sha256(f"{seed} {sample.frames[i].frame_id}".encode()).hexdigest()

    order = sorted(range(len(sample.frames)), key=chance)
    turns: Counter[str] = Counter()
    turn: dict[int, int] = {}
    for i in order:
        camera = sample.frames[i].camera
        turn[i] = turns[camera]
        turns[camera] += 1
    taken = sorted(sorted(order, key=turn.__getitem__)[:count])
    return Sample(tuple(sample.frames[i] for i in taken), tuple(sample.truths[i] for i in taken))


def busiest(sample: Sample) -> Frame:
    """The frame with the most objects, of these the first: it shows most."""
    objects = [int((~truth.ignore).sum()) for truth in sample.truths]
    return sample.frames[objects.index(max(objects))]


def of_sample(sample: Sample) -> Values:
    """What the figures rest on."""
    objects = sum(int((~truth.ignore).sum()) for truth in sample.truths)
    cameras = Counter(frame.camera for frame in sample.frames)
    return {"frames": len(sample.frames), "objects": objects, "cameras": dict(sorted(cameras.items()))}


def variants(p: RobustnessParams) -> list[Variant]:
    """The plain frame, then every corruption in every severity. Raises ConfigError where a name is unknown."""
    check(p.corruptions)
    return [Variant(), *(Variant(name, severity) for name in p.corruptions for severity in sorted(p.severities))]


def show(image: NDArray[np.uint8], frame_id: str, truth: Truth, variant: Variant, target: tuple[int, int]) -> Shown:
    """Corrupt a frame, (H, W, 3) RGB, and letterbox it; the truth moves where the picture does."""
    size = image.shape[1], image.shape[0]
    if variant.corruption:
        matrix = motion(variant.corruption, variant.severity, frame_id, size)
        image = corrupt(image, variant.corruption, variant.severity, frame_id)
        truth = truth if matrix is None else move_truth(truth, matrix, size)
    placed, placement = letterbox(image, target)
    return Shown(variant, placed, placement, size, truth)


def move_truth(truth: Truth, matrix: NDArray[np.float64], size: tuple[int, int]) -> Truth:
    """Boxes moved with the picture: what has left it is gone, what is hardly in it is an ignore region."""
    boxes, visible = moved(truth.boxes, matrix, size)
    kept = visible > 0
    return Truth(boxes[kept], truth.labels[kept], (truth.ignore | (visible < VISIBLE))[kept])


def shown(frames: Path, sample: Sample, ways: Sequence[Variant], s: Setting) -> Iterator[Shown]:
    """Every way of every frame, frame by frame; each is decoded once, and threads prepare while the network works."""
    with ShardReader(frames) as reader:
        decoded = map_ahead(lambda frame: decode(reader.read(frame)), sample.frames, ahead=1, workers=1)
        jobs = (
            (image, frame.frame_id, truth, way)
            for image, frame, truth in zip(decoded, sample.frames, sample.truths, strict=True)
            for way in ways
        )
        yield from map_ahead(lambda job: show(*job, s.size), jobs, ahead=2 * s.batch_size, workers=s.workers)


def detect(model: Detector, pictures: Iterable[Shown], s: Setting) -> dict[Variant, Result]:
    """Truths and detections by variant: one forward pass a picture, in batches that do not care which variant it is."""
    results: dict[Variant, Result] = defaultdict(lambda: ([], []))
    todo = iter(pictures)
    while batch := list(islice(todo, s.batch_size)):
        boxes, scores = candidates(model, [it.image for it in batch])
        for it, box, score in zip(batch, boxes, scores, strict=True):
            truths, found = results[it.variant]
            truths.append(it.truth)
            found.append(select(box, score, s.rule, it.placement, it.size))
    return dict(results)


def values(result: Result, classes: Sequence[str]) -> Values:
    """AP and AP50 over all classes and by class; what is not defined is left out."""
    overall, by_class = coco_scores(*result, classes)
    return {**{name: overall[name] for name in ("AP", "AP50") if name in overall}, "class": by_class}


def mean(many: Sequence[Values]) -> Values:
    """Mean of each figure over those that have it."""
    names = dict.fromkeys(name for it in many for name in it if name != "class")
    classes = dict.fromkeys(name for it in many for name in it.get("class", {}))
    whole: Values = {name: float(np.mean([it[name] for it in many if name in it])) for name in names}
    by_class = {name: mean([it["class"][name] for it in many if name in it["class"]]) for name in classes}
    return whole | ({"class": by_class} if by_class else {})


def relative(part: Values, whole: Values) -> Values:
    """Each figure as a share of the same one of `whole`; left out where that is missing or zero."""
    shares: Values = {
        name: value / whole[name] for name, value in part.items() if name != "class" and whole.get(name, 0) > 0
    }
    by_class = {name: relative(it, whole["class"].get(name, {})) for name, it in part.get("class", {}).items()}
    return shares | ({"class": by_class} if by_class else {})


def score(results: Mapping[Variant, Result], classes: Sequence[str]) -> Values:
    """AP by corruption and severity, and the mean and relative performance under corruption.

    mPC is the mean AP over corruptions and severities, rPC its share of the plain AP (Michaelis et al., 2019).
    """
    measured = {variant: values(result, classes) for variant, result in results.items()}
    plain = measured[Variant()]
    corruptions = {
        name: {"family": family, **_corruption(name, measured, plain)}
        for family, names in FAMILIES.items()
        for name in names
        if any(variant.corruption == name for variant in measured)
    }
    families = {family: [it["mean"] for it in corruptions.values() if it["family"] == family] for family in FAMILIES}
    families["all"] = [it["mean"] for it in corruptions.values()]
    means = {family: mean(many) for family, many in families.items() if many}
    return {
        "plain": plain,
        "corruptions": corruptions,
        "mPC": means,
        "rPC": {family: relative(it, plain) for family, it in means.items()},
    }


def _corruption(name: str, measured: Mapping[Variant, Values], plain: Values) -> Values:
    by_severity = {variant.severity: it for variant, it in measured.items() if variant.corruption == name}
    whole = mean(list(by_severity.values()))
    steps = {"steps": [f"{step:g} {STEPS[name][0]}" for step in STEPS[name][1]]} if name in STEPS else {}
    return {
        "severity": {str(s): it for s, it in by_severity.items()},
        "mean": whole,
        "rPC": relative(whole, plain),
        **steps,
    }


def wearers(frames: Path, sample: Sample, area: float, target: tuple[int, int]) -> Iterator[Wearer]:
    """The frames that hold an object large enough to wear the patch."""
    images = pictures(frames, [frame.frame_id for frame in sample.frames])
    for (_, image), truth in zip(images, sample.truths, strict=True):
        placed, placement = letterbox(image, target)
        boxes = placement.to_input(truth.boxes)
        wearing = ~truth.ignore & (sides(boxes, area) >= LEAST)
        if wearing.any():
            scene = Scene(placed, boxes[wearing], truth.labels[wearing])
            yield Wearer(scene, truth, wearing, placement, (image.shape[1], image.shape[0]))


def attack(model: Detector, frames: Path, val: Sample, p: RobustnessParams, s: Setting) -> Patch | str:
    """The patch trained on validation frames with objects, or why there is none."""
    if not p.patch.frames:
        return "not asked for: robustness.patch.frames is 0"
    there = [(f, t) for f, t in zip(val.frames, val.truths, strict=True) if not t.ignore.all()]
    few = balanced(Sample(tuple(f for f, _ in there), tuple(t for _, t in there)), p.patch.frames, p.seed)
    scenes = [wearer.scene for wearer in wearers(frames, few, p.patch.area, s.size)]
    if not scenes:
        return "no object of the validation split is large enough to wear a patch"
    patch = train_patch(model, scenes, p.patch.area, p.patch.steps, p.seed)
    return "the model is not differentiable here" if patch is None else patch


def dressed(wearer: Wearer, patch: Patch | None, area: float) -> NDArray[np.uint8]:
    """What the network sees of a frame whose objects wear a patch, or none."""
    return wearer.scene.image if patch is None else worn(wearer.scene, patch, area)


def hits(
    model: Detector, worn_by: Sequence[Wearer], patch: Patch | None, at: NDArray[np.float64], area: float, s: Setting
) -> NDArray[np.int64]:
    """Objects (C,) that are found at the operating point `at` (C,) although they wear the patch."""
    count = np.zeros(len(at), np.int64)
    for start in range(0, len(worn_by), s.batch_size):
        batch = worn_by[start : start + s.batch_size]
        outputs = candidates(model, [dressed(wearer, patch, area) for wearer in batch])
        for wearer, boxes, scores in zip(batch, *outputs, strict=True):
            found = select(boxes, scores, s.rule, wearer.placement, wearer.size)
            kept = found.scores >= at[found.labels]
            hit = np.append(kept, False)[match(wearer.truth, found, s.match_iou).detection]
            count += np.bincount(wearer.truth.labels[wearer.wearing & hit], minlength=len(at))
    return count


def patch_report(objects: NDArray[np.int64], found: Mapping[str, NDArray[np.int64]], classes: Sequence[str]) -> Values:
    """Objects that wear the patch, those found, and the recall that it costs; (C,) counts by what they wear."""

    def figures_of(k: slice) -> Values:
        n = int(objects[k].sum())
        counts = {name: int(count[k].sum()) for name, count in found.items()}
        drop = {f"{name}_recall_drop": (counts["plain"] - counts[name]) / n for name in ("noise", "patch")} if n else {}
        return {"objects": n, "hits": counts, **drop}

    by_class = {name: figures_of(slice(k, k + 1)) for k, name in enumerate(classes)}
    return {**figures_of(slice(None)), "class": by_class}


def assess_patch(
    model: Detector,
    frames: Path,
    samples: tuple[Sample, Sample],
    at: NDArray[np.float64],
    p: RobustnessParams,
    s: Setting,
) -> tuple[Values, list[NDArray[np.uint8]]]:
    """The patch's part of robustness.json, and what it looks like; `samples`: validation and benchmark."""
    val, benchmark = samples
    patch = attack(model, frames, val, p, s)
    if isinstance(patch, str):
        return {"not_assessed": patch}, []
    worn_by = list(wearers(frames, benchmark, p.patch.area, s.size))
    ways = {"plain": None, "noise": random_patch(p.seed + 1), "patch": patch}
    found = {name: hits(model, worn_by, way, at, p.patch.area, s) for name, way in ways.items()}
    labels = np.concatenate([np.zeros(0, np.int64), *(wearer.scene.labels for wearer in worn_by)])
    report = patch_report(np.bincount(labels, minlength=len(at)), found, DataParams.load("data").classes)
    looks = [caption(dressed(wearer, way, p.patch.area), name) for wearer in worn_by[:1] for name, way in ways.items()]
    return {"area": p.patch.area, "steps": p.patch.steps, **report}, looks


def examples(frames: Path, frame: Frame, ways: Sequence[Variant], scores: Values) -> bytes:
    """PNG of one frame in every corruption, each at its worst severity."""
    ((_, image),) = pictures(frames, [frame.frame_id])
    worst = {way.corruption: way for way in ways}  # severities rise
    drawn = []
    for name, way in worst.items():
        title = f"{name} {way.severity}" if name else "plain"
        it = scores["corruptions"][name]["severity"][str(way.severity)] if name else scores["plain"]
        changed = corrupt(image, name, way.severity, frame.frame_id) if name else image
        height = max(1, round(image.shape[0] * CELL / image.shape[1]))
        words = f"{title}: AP50 {it['AP50']:.2f}" if "AP50" in it else title
        drawn.append(caption(letterbox(changed, (CELL, height))[0], words))
    return encode_png(sheet(drawn, COLUMNS, COLUMNS * CELL + 20))


def read_sample(args: Namespace, split: Split, classes: tuple[str, ...]) -> Sample:
    """The frames of one split with their truths. Raises DataError where a frame is not there."""
    return Sample(*labelled(args.frames, args.annotations, args.splits, split, classes))


def setting(path: Path = PARAMS) -> Setting:
    """What params.yaml says of input and output: as in `evaluate`, so that the plain figures can be compared."""
    p, size = EvaluateParams.load("evaluate", path), InputParams.load("input", path)
    workers = ComputeParams.load("compute", path).workers
    return Setting((size.width, size.height), rule_of(p), p.batch_size, p.match_iou, workers)


def headline(scores: Values) -> str:
    """The figures that matter most, in one line."""
    means = [f"{kind} {it['AP']:.3f}" for kind in ("mPC", "rPC") if "AP" in (it := scores[kind].get("all", {}))]
    plain = f"AP {scores['plain']['AP']:.3f} on plain frames" if "AP" in scores["plain"] else "no object"
    return ", ".join([plain, *means, f"{scores['frames']} frames in {scores['variants']} variants"])


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    names = ("weights", "frames", "annotations", "splits", "operating", "out")
    args = stage_arguments(__doc__, *names).parse_args(argv)
    p, s, classes = RobustnessParams.load("robustness"), setting(), DataParams.load("data").classes
    ways = variants(p)
    benchmark = balanced(read_sample(args, Split.BENCHMARK, classes), p.frames, p.seed)
    if not benchmark.frames:
        raise DataError(f"{args.splits}: the benchmark split holds no frame; leave it a share in split.fractions")
    model = on_device(load(args.weights), device())
    total = len(benchmark.frames) * len(ways)
    frames = progress(shown(args.frames, benchmark, ways, s), desc="robustness", total=total, unit="frame")
    with shared_cores():
        results = detect(model, frames, s)
    measured = score(results, classes)
    at = thresholds(args.operating, classes)
    samples = read_sample(args, Split.VAL, classes), benchmark
    patch, looks = assess_patch(model, args.frames, samples, at, p, s)
    scores = {**of_sample(benchmark), "seed": p.seed, "variants": len(ways), **measured, "patch": patch}
    with whole_folder(args.out) as out:
        write_json(out / "robustness.json", scores)
        write_bytes(out / "figures" / "curves.png", severity_curves(scores))
        write_bytes(out / "figures" / "corruptions.png", examples(args.frames, busiest(benchmark), ways, scores))
        if looks:
            write_bytes(out / "figures" / "patch.png", encode_png(sheet(looks, len(looks), len(looks) * CELL)))
    summary("robustness", headline(scores))


if __name__ == "__main__":
    run(main)
