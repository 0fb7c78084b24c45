"""How good is the detector, for whom, and where does it fail?

Reads the trained weights, frames, annotations and splits. The operating threshold of each class is chosen on the
validation split; everything else is measured on the benchmark split. Writes to --out: detections.parquet, metrics.json
(nested figures for DVC, MLflow and the gate), groups.json, comparisons.json (gaps between groups), preconditions.json
(under which conditions it holds), operating.json, label_issues.json (labels of both splits to
look at again), pr.csv, confusion.csv, iou.csv and figures/.
"""

import csv
import io
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core import groups as by
from pipeline.core.diagnosis import Diagnosis, diagnose, knots_of, meanings
from pipeline.core.errors import DataError
from pipeline.core.group_report import GroupReport, report_on
from pipeline.core.label_quality import Issue, Kind
from pipeline.core.matching import Floats, Matched, Overlaps, confusions, match, match_overlaps, overlaps
from pipeline.core.metrics import RECALLS, coco_precision
from pipeline.core.operating import choose, hits_of
from pipeline.core.params import DataParams, EvaluateParams, InputParams
from pipeline.core.progress import progress
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.suspects import Suspect, issue_report, suspects
from pipeline.core.types import Frame, Sample, Split
from pipeline.io import figures
from pipeline.io.coco_eval import coco_scores
from pipeline.io.files import whole_folder, write_bytes, write_json
from pipeline.io.frames import labelled, pictures
from pipeline.io.tables import write_detections
from pipeline.modeling.predict import predict, rule_of
from pipeline.runtime.postprocess import calibrated
from pipeline.runtime.preprocess import letterbox
from pipeline.vision.draw import caption, draw_boxes, encode_png, sheet

BACKGROUND = "background"
GALLERY_CELL = 480  # pixels wide
GREEN, RED, ORANGE, GREY = (0, 158, 115), (214, 39, 40), (255, 150, 0), (150, 150, 150)  # RGB
BLUE = (30, 144, 255)
ISSUE_PICTURES = 12
ISSUE_CELL = (360, 216)  # pixels, width and height
ISSUE_CONTEXT = 2.5  # sides of the picture of an issue, in sides of its boxes
ISSUE_LEAST = (120.0, 72.0)  # pixels of the frame that it shows at least


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What the benchmark says at the operating point. C = number of classes."""

    thresholds: Floats  # (C,)
    near: Overlaps
    matched: Matched  # at the IoU of a hit
    metrics: dict[str, Any]  # nested plain figures
    groups: GroupReport
    precision: dict[str, Floats]  # (101,) at COCO's recall points and IoU 0.5, by class
    points: dict[str, tuple[float, float]]  # recall and precision at IoU 0.5, by class
    confusion: list[tuple[str, str]]  # actual, predicted
    iou_counts: NDArray[np.int64]  # (10,) matched boxes by IoU
    iou_edges: Floats  # (11,) from the IoU of a hit to 1


def operating_point(val: Sample, p: EvaluateParams) -> dict[str, Any]:
    """Threshold of each class, what its scores mean, and what both were chosen on: the validation split."""
    near = overlaps(val.truths, val.found)
    matched = match_overlaps(near, p.match_iou)
    threshold, evidence = choose(matched, val.frames, val.classes, p.operating)
    chosen = {"split": str(Split.VAL), "match_iou": p.match_iou, **evidence}
    calibration = meanings(near, matched, val.classes, p.match_iou, p.min_support)
    return {"threshold": threshold, "chosen_on": chosen, "calibration": calibration}


def score(benchmark: Sample, thresholds: Mapping[str, float], p: EvaluateParams) -> Scores:
    """Everything measured on the benchmark, with the operating threshold of each class."""
    at = np.array([thresholds[name] for name in benchmark.classes])
    near = overlaps(benchmark.truths, benchmark.found)
    matched, at50 = match_overlaps(near, p.match_iou), match_overlaps(near, 0.5)
    names = [*benchmark.classes, BACKGROUND]  # the background, -1, is the last
    pairs = confusions(near, matched, at, p.match_iou)
    edges = np.linspace(p.match_iou, 1, 11, dtype=np.float64)
    return Scores(
        thresholds=at,
        near=near,
        matched=matched,
        metrics=metrics(benchmark, matched, at),
        groups=report_on(benchmark.frames, benchmark.truths, benchmark.classes, (matched, at50), at, p),
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
    return {name: coco_precision(*hits_of(at50, k), objects[k]) for k, name in enumerate(classes) if objects[k]}


def operating_points(at50: Matched, thresholds: Floats, classes: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Recall and precision of the classes where both are defined."""
    found = {group.value: by.figures(group, at50, thresholds) for group in by.by_class(at50, classes)}
    return {name: (f["recall"], f["precision"]) for name, f in found.items() if {"recall", "precision"} <= f.keys()}


def diagnosis(benchmark: Sample, scores: Scores, operating: Mapping[str, Any], p: EvaluateParams) -> Diagnosis:
    """Where it fails on the benchmark, with scores read as the validation split taught."""
    near, classes = scores.near, benchmark.classes
    meaning = calibrated(near.score, near.label, knots_of(operating["calibration"], classes))
    return diagnose(near, benchmark.frames, classes, scores.thresholds, meaning, p.match_iou, p.min_support)


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


def draw_issue(image: NDArray[np.uint8], issue: Issue) -> NDArray[np.uint8]:
    """The part of a frame, (H, W, 3) RGB, around an issue, in the sheet's size: people's box blue, model's orange."""
    boxes = np.array([issue.box, *([issue.human_box] if issue.human_box else [])], np.float32)
    left, top, right, bottom = _surroundings(boxes, (image.shape[1], image.shape[0]))
    canvas, placement = letterbox(np.ascontiguousarray(image[top:bottom, left:right]), ISSUE_CELL)
    placed = placement.to_input(boxes - np.array([left, top, left, top], np.float32))
    for row, color, lines in [(placed[1:], BLUE, (1, 2, 3)), (placed[:1], ORANGE, (-1, 0))]:
        for outward in lines:  # beside each other, so that equal boxes are both seen
            canvas = draw_boxes(canvas, row + outward * np.array([-1, -1, 1, 1]), [""] * len(row), color)
    return canvas


def _surroundings(boxes: NDArray[np.float32], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is shown of a frame of `size` (width, height): the boxes in their context."""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    cell = np.array(ISSUE_CELL, np.float64)
    scale = max(*((high - low) * ISSUE_CONTEXT / cell), *(np.array(ISSUE_LEAST) / cell))  # keeps the cell's shape
    frame = np.array(size, np.float64)
    shown = np.minimum(cell * scale, frame)
    corner = np.clip((low + high) / 2 - shown / 2, 0, frame - shown)
    left, top = (int(v) for v in corner.round())
    width, height = (max(1, int(v)) for v in shown.round())
    return left, top, left + width, top + height


def issue_sheet(frames: Path, found: Sequence[Suspect], classes: Sequence[str]) -> bytes:
    """PNG of the most suspect labels, with a line that says what the colours mean."""
    chosen = found[:ISSUE_PICTURES]
    images = pictures(frames, [suspect.frame.frame_id for suspect in chosen])
    drawn = [
        caption(draw_issue(image, suspect.issue), _issue_words(suspect, classes))
        for suspect, (_, image) in zip(chosen, images, strict=True)
    ]
    legend = "people's box blue, the model's orange; the figure is the suspicion" if drawn else "no label to look at"
    return encode_png(caption(sheet(drawn, columns=3, width=3 * ISSUE_CELL[0] + 16), legend))


def _issue_words(suspect: Suspect, classes: Sequence[str]) -> str:
    issue, frame = suspect.issue, suspect.frame
    people = "" if issue.human_label is None else classes[issue.human_label]
    what = {
        Kind.MISSING_LABEL: f"missing {classes[issue.label]}",
        Kind.WRONG_CLASS: f"{people}, model says {classes[issue.label]}",
        Kind.LOOSE_BOX: f"loose {classes[issue.label]}",
    }
    return f"{what[issue.kind]} {issue.suspicion:.2f} {frame.camera} #{frame.index}"


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def write_scores(out: Path, scores: Scores, classes: Sequence[str]) -> None:
    """groups.json, comparisons.json, preconditions.json, the CSV files and their figures."""
    write_json(out / "groups.json", scores.groups.groups)
    write_json(out / "comparisons.json", scores.groups.comparisons)
    write_json(out / "preconditions.json", scores.groups.preconditions)
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
    write_bytes(folder / "groups.png", figures.group_recall(scores.groups.groups))
    write_bytes(folder / "heights.png", figures.recall_by_height(scores.groups.preconditions))


def write_diagnosis(folder: Path, why: Diagnosis, frames: Path, benchmark: Sample) -> None:
    """The figures of what fails, and where."""
    maps = why.maps[: figures.MOST_MAPS]
    images = [image for _, image in pictures(frames, [benchmark.frames[it.worst].frame_id for it in maps])]
    write_bytes(folder / "tide.png", figures.error_costs(why.figures["tide"]))
    write_bytes(folder / "reliability.png", figures.reliability(why.reliability))
    write_bytes(folder / "false_alarms.png", figures.alarm_maps(maps, images))


def detect(args: Namespace, split: Split, p: EvaluateParams) -> Sample:
    """Read one split and run the detector on it. Raises DataError where a frame is not there."""
    classes, size = DataParams.load("data").classes, InputParams.load("input")
    frames, truths = labelled(args.frames, args.annotations, args.splits, split, classes)
    items = pictures(args.frames, [frame.frame_id for frame in frames])
    found = predict(args.weights, items, target=(size.width, size.height), rule=rule_of(p), batch_size=p.batch_size)
    shown = progress(found, desc=f"evaluate {split}", total=len(frames), unit="frame")
    return Sample(frames, truths, tuple(detections for _, detections in shown), classes)


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
    val = detect(args, Split.VAL, p)
    operating = operating_point(val, p)
    scores = score(benchmark, operating["threshold"], p)
    why = diagnosis(benchmark, scores, operating, p)
    samples = {Split.BENCHMARK: benchmark, Split.VAL: val}
    issues = suspects(samples, operating["threshold"], p.match_iou)
    found = {frame.frame_id: boxes for frame, boxes in zip(benchmark.frames, benchmark.found, strict=True)}
    with whole_folder(args.out) as out:
        write_detections(out / "detections.parquet", found)
        write_json(out / "operating.json", operating)
        write_scores(out, scores, benchmark.classes)
        write_json(out / "metrics.json", scores.metrics | why.figures)
        write_diagnosis(out / "figures", why, args.frames, benchmark)
        write_json(out / "label_issues.json", issue_report(issues, samples, p.label_issues))
        write_bytes(out / "figures" / "gallery.png", gallery(args.frames, benchmark, scores, p))
        write_bytes(out / "figures" / "label_issues.png", issue_sheet(args.frames, issues, benchmark.classes))
    summary("evaluate", headline(scores.metrics))


if __name__ == "__main__":
    run(main)
