"""How good is the detector, for whom, and where does it fail?

Reads the trained weights, frames, annotations and splits. The operating threshold of each class is chosen on the
validation split; everything else is measured on the benchmark split. Writes to --out: detections.parquet, metrics.json
(nested figures for DVC, MLflow and the gate), groups.json, operating.json, pr.csv, confusion.csv, iou.csv and figures/.
"""

import csv
import io
from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.core import groups as by
from pipeline.core.errors import DataError
from pipeline.core.matching import Floats, Matched, confusions, match, match_frames
from pipeline.core.metrics import RECALLS, best_f1, coco_precision, curve
from pipeline.core.params import DataParams, EvaluateParams, InputParams
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.types import Detections, Frame, Split, Truth
from pipeline.io import figures
from pipeline.io.coco_eval import coco_scores
from pipeline.io.files import whole_folder, write_bytes, write_json
from pipeline.io.frames import find, pictures, truth_of
from pipeline.io.shards import by_id
from pipeline.io.tables import read_frames, write_detections
from pipeline.modeling.predict import predict
from pipeline.runtime.contract import OutputContract
from pipeline.runtime.preprocess import letterbox
from pipeline.vision.draw import caption, draw_boxes, encode_png, sheet

NO_CHOICE = 0.5  # the threshold where the validation split cannot choose one
BACKGROUND = "background"
GALLERY_CELL = 480  # pixels wide
GREEN, RED, ORANGE, GREY = (0, 158, 115), (214, 39, 40), (255, 150, 0), (150, 150, 150)  # RGB

Groups = dict[str, dict[str, dict[str, str | float]]]  # attribute -> value -> figures


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The frames of one split, what is truly in each, and what the detector found there."""

    frames: tuple[Frame, ...]
    truths: tuple[Truth, ...]
    found: tuple[Detections, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What the benchmark says at the operating point. C = number of classes."""

    thresholds: Floats  # (C,)
    matched: Matched  # at the IoU of a hit
    metrics: dict[str, Any]  # nested plain figures
    groups: Groups
    precision: dict[str, Floats]  # (101,) at COCO's recall points and IoU 0.5, by class
    points: dict[str, tuple[float, float]]  # recall and precision at IoU 0.5, by class
    confusion: list[tuple[str, str]]  # actual, predicted
    iou_counts: NDArray[np.int64]  # (10,) matched boxes by IoU
    iou_edges: Floats  # (11,) from the IoU of a hit to 1


def operating_point(val: Sample, match_iou: float) -> dict[str, Any]:
    """Threshold of each class with the highest F1 on the validation split, and what it was chosen on."""
    matched = match_frames(val.truths, val.found, match_iou)
    threshold: dict[str, float] = {}
    chosen_on: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(val.classes):
        objects = int((matched.object_label == k).sum())
        best = best_f1(curve(*_hits(matched, k), objects)) if objects else None
        why = "no detection hits an object" if objects else "no object of this class"
        threshold[name] = best[0] if best else NO_CHOICE
        chosen_on[name] = {"objects": objects, **({"f1": best[1]} if best else {"reason": f"{why}: no choice"})}
    chosen = {"split": str(Split.VAL), "frames": len(val.frames), "match_iou": match_iou, "class": chosen_on}
    return {"threshold": threshold, "chosen_on": chosen}


def score(benchmark: Sample, thresholds: Mapping[str, float], p: EvaluateParams) -> Scores:
    """Everything measured on the benchmark, with the operating threshold of each class."""
    at = np.array([thresholds[name] for name in benchmark.classes])
    matched = match_frames(benchmark.truths, benchmark.found, p.match_iou)
    at50 = match_frames(benchmark.truths, benchmark.found, 0.5)
    names = [*benchmark.classes, BACKGROUND]  # the background, -1, is the last
    pairs = confusions(benchmark.truths, benchmark.found, at, p.match_iou)
    edges = np.linspace(p.match_iou, 1, 11, dtype=np.float64)
    return Scores(
        thresholds=at,
        matched=matched,
        metrics=metrics(benchmark, matched, at),
        groups=assess_groups(benchmark, matched, at50, at, p),
        precision=precisions(at50, benchmark.classes),
        points=operating_points(at50, at, benchmark.classes),
        confusion=[(names[actual], names[predicted]) for actual, predicted in pairs],
        iou_counts=np.histogram(matched.iou[matched.hits(at)], edges)[0],
        iou_edges=edges,
    )


def metrics(benchmark: Sample, matched: Matched, thresholds: Floats) -> dict[str, Any]:
    """Nested plain figures; what is not defined is left out."""
    overall, by_class = coco_scores(benchmark.truths, benchmark.found, benchmark.classes)
    per_class = {
        group.value: by_class.get(group.value, {}) | by.figures(group, matched, thresholds)
        for group in by.by_class(matched, benchmark.classes)
    }
    point = by.figures(by.everything(matched, len(benchmark.frames)), matched, thresholds)
    return {**overall, **point, "class": per_class}


def precisions(at50: Matched, classes: Sequence[str]) -> dict[str, Floats]:
    """Precision (101,) at COCO's recall points, of the classes that have an object."""
    objects = [int((at50.object_label == k).sum()) for k in range(len(classes))]
    return {name: coco_precision(*_hits(at50, k), objects[k]) for k, name in enumerate(classes) if objects[k]}


def operating_points(at50: Matched, thresholds: Floats, classes: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Recall and precision of the classes where both are defined."""
    found = {group.value: by.figures(group, at50, thresholds) for group in by.by_class(at50, classes)}
    return {name: (f["recall"], f["precision"]) for name, f in found.items() if {"recall", "precision"} <= f.keys()}


def _hits(matched: Matched, label: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores of one class's detections that are not ignored, and whether each found an object."""
    mine = (matched.label == label) & ~matched.ignored
    return matched.score[mine], matched.object[mine] >= 0


def assess_groups(benchmark: Sample, matched: Matched, at50: Matched, thresholds: Floats, p: EvaluateParams) -> Groups:
    """Figures of every group that the benchmark has."""
    result: Groups = defaultdict(dict)
    for group in every_group(benchmark, matched, p.height_bins):
        result[group.attribute][group.value] = by.assess(group, matched, at50, thresholds, p.min_support)
    return dict(result)


def every_group(benchmark: Sample, matched: Matched, height_bins: Sequence[float]) -> Iterator[by.Group]:
    """Groups by class, camera, third of the clip's benchmark, height, and each attribute of frames and objects."""
    frames = benchmark.frames
    yield from by.by_class(matched, benchmark.classes)
    yield from by.by_frame(matched, "camera", [f.camera for f in frames])
    yield from by.by_frame(matched, "time", by.thirds([f.clip for f in frames], [f.timestamp_s for f in frames]))
    yield from by.by_height(matched, height_bins)
    for name in _names(f.attributes for f in frames):
        yield from by.by_frame(matched, f"frame {name}", [f.attributes.get(name) for f in frames])
    objects = [a for t in benchmark.truths for a, ignore in zip(t.attributes, t.ignore, strict=True) if not ignore]
    for name in _names(objects):
        yield from by.by_object(f"object {name}", [a.get(name) for a in objects])


def _names(mappings: Iterable[Mapping[str, str]]) -> list[str]:
    return sorted(set(chain.from_iterable(mappings)))


def worst(frames: Sequence[Frame], scores: Scores, count: int) -> list[int]:
    """Positions of the frames with the most misses and false alarms, worst first.

    The worst frame of every second of every clip comes before any second-worst: neighbours in a video fail alike.
    """
    matched = scores.matched
    errors = np.bincount(matched.frame[matched.false_alarms(scores.thresholds)], minlength=len(frames))
    errors += np.bincount(matched.object_frame[~matched.found(scores.thresholds)], minlength=len(frames))
    seen: Counter[tuple[str, int]] = Counter()
    ranked: list[tuple[int, int, int]] = []
    for i in np.argsort(-errors, kind="stable").tolist():
        frame = frames[i]
        second = frame.clip, frame.index if frame.timestamp_s is None else int(frame.timestamp_s)
        ranked.append((seen[second], -int(errors[i]), i))
        seen[second] += 1
    return [i for _, negative, i in sorted(ranked) if negative][:count]


def draw_errors(
    image: NDArray[np.uint8], benchmark: Sample, i: int, scores: Scores, p: EvaluateParams
) -> NDArray[np.uint8]:
    """Frame `i`, (H, W, 3) RGB, in the gallery's size, with its boxes: hits green, misses red, false alarms orange."""
    truth, found, classes = benchmark.truths[i], benchmark.found[i], benchmark.classes
    matches = match(truth, found, p.match_iou)
    kept = found.scores >= scores.thresholds[found.labels]
    captions = [f"{classes[k]} {s:.2f}" for k, s in zip(found.labels, found.scores, strict=True)]
    names = ["ignore" if region else classes[k] for k, region in zip(truth.labels, truth.ignore, strict=True)]
    layers = [
        (GREY, truth.boxes, names, truth.ignore),
        (GREEN, found.boxes, captions, kept & (matches.truth >= 0)),
        (ORANGE, found.boxes, captions, kept & (matches.truth < 0) & ~matches.ignored),
        (RED, truth.boxes, names, ~truth.ignore & ~np.append(kept, False)[matches.detection]),
    ]
    height = max(1, round(image.shape[0] * GALLERY_CELL / image.shape[1]))
    canvas, placement = letterbox(image, (GALLERY_CELL, height))  # scaled first: lines and words stay sharp
    for color, boxes, words, mask in layers:
        canvas = draw_boxes(canvas, placement.to_input(boxes[mask]), list(compress(words, mask)), color)
    return canvas


def gallery(frames: Path, benchmark: Sample, scores: Scores, p: EvaluateParams) -> bytes:
    """PNG of the benchmark's worst frames, with a line that says what the colours mean."""
    chosen = worst(benchmark.frames, scores, p.gallery)
    images = pictures(frames, [benchmark.frames[i].frame_id for i in chosen])
    drawn = [
        caption(draw_errors(image, benchmark, i, scores, p), _where(benchmark.frames[i]))
        for i, (_, image) in zip(chosen, images, strict=True)
    ]
    legend = "hits green, misses red, false alarms orange, ignore regions grey" if drawn else "no error to show"
    return encode_png(caption(sheet(drawn, columns=3, width=3 * GALLERY_CELL + 16), legend))


def _where(frame: Frame) -> str:
    return f"{frame.camera}: {frame.source} #{frame.index}"


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def write_scores(out: Path, scores: Scores, classes: Sequence[str]) -> None:
    """metrics.json, groups.json, the CSV files and the figures."""
    write_json(out / "metrics.json", scores.metrics)
    write_json(out / "groups.json", scores.groups)
    rows = (
        (f"{r:.2f}", f"{p:.6f}", name)
        for name, ps in scores.precision.items()
        for r, p in zip(RECALLS, ps, strict=True)
    )
    write_csv(out / "pr.csv", ("recall", "precision", "class"), rows)
    write_csv(out / "confusion.csv", ("actual", "predicted"), scores.confusion)
    bins = ((f"{low:.2f}", int(n)) for low, n in zip(scores.iou_edges, scores.iou_counts, strict=False))
    write_csv(out / "iou.csv", ("iou", "objects"), bins)
    names = [*classes, BACKGROUND]
    pairs = Counter(scores.confusion)
    counts = np.array([[pairs[actual, predicted] for predicted in names] for actual in names], np.int64)
    folder = out / "figures"
    write_bytes(folder / "pr.png", figures.precision_recall(scores.precision, scores.points))
    write_bytes(folder / "confusion.png", figures.confusion(counts, names))
    mean = scores.metrics.get("mean_iou")
    write_bytes(folder / "iou.png", figures.iou_histogram(scores.iou_edges, scores.iou_counts, mean))
    write_bytes(folder / "groups.png", figures.group_recall(scores.groups))


def detect(args: Namespace, split: Split, p: EvaluateParams) -> Sample:
    """Read one split and run the detector on it. Raises DataError where a frame is not there."""
    classes, size = DataParams.load("data").classes, InputParams.load("input")
    truths = truth_of(args.annotations, args.splits, split, classes)
    known = by_id(read_frames(args.frames / "frames.parquet"))
    frames = tuple(find(known, frame_id, args.frames) for frame_id in truths)
    rule = OutputContract(
        boxes="boxes",
        scores="scores",
        score_floor=p.score_floor,
        nms_iou=p.nms_iou,
        max_detections=p.max_detections,
    )
    items = pictures(args.frames, list(truths))
    found = predict(args.weights, items, target=(size.width, size.height), rule=rule, batch_size=p.batch_size)
    progress = tqdm(found, desc=f"evaluate {split}", total=len(frames), unit="frame")
    return Sample(frames, tuple(truths.values()), tuple(detections for _, detections in progress), classes)


def headline(values: Mapping[str, Any]) -> str:
    """The figures that matter most, in one line."""
    measured = [f"{name} {values[name]:.3f}" for name in ("AP", "AP50", "precision", "recall") if name in values]
    return ", ".join([*measured, f"{values['objects']} objects in {values['frames']} benchmark frames"])


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    args = stage_arguments(__doc__, "weights", "frames", "annotations", "splits", "out").parse_args(argv)
    p = EvaluateParams.load("evaluate")
    benchmark = detect(args, Split.BENCHMARK, p)
    if not benchmark.frames:
        raise DataError(f"{args.splits}: the benchmark split holds no frame; leave it a share in split.fractions")
    operating = operating_point(detect(args, Split.VAL, p), p.match_iou)
    scores = score(benchmark, operating["threshold"], p)
    found = {frame.frame_id: boxes for frame, boxes in zip(benchmark.frames, benchmark.found, strict=True)}
    with whole_folder(args.out) as out:
        write_detections(out / "detections.parquet", found)
        write_json(out / "operating.json", operating)
        write_scores(out, scores, benchmark.classes)
        write_bytes(out / "figures" / "gallery.png", gallery(args.frames, benchmark, scores, p))
    summary("evaluate", headline(scores.metrics))


if __name__ == "__main__":
    run(main)
