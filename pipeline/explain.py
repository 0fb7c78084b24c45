"""What has the detector learned, how far does it see, and what does it look at where it errs?

Reads the trained weights, the export, frames, annotations, splits, and the detections and thresholds that evaluate
left. Writes to --out: costs.json (parameters, multiply-adds, bytes: figures for DVC and MLflow), explain.json (levels
against the objects of the training split, dead filters, what moves the score of hits, misses and false alarms) and
figures/.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.cases import Case, cases
from pipeline.core.errors import DataError
from pipeline.core.matching import Floats
from pipeline.core.params import EvaluateParams
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.types import Frame, Sample, Split, Truth
from pipeline.io.documents import thresholds
from pipeline.io.explain_figure import fields
from pipeline.io.files import whole_folder, write_bytes, write_json
from pipeline.io.frames import labelled, pictures
from pipeline.io.tables import read_detections
from pipeline.modeling.attention import attend
from pipeline.modeling.costs import costs
from pipeline.modeling.detector import Detector, to_batch
from pipeline.modeling.device import device, on_device
from pipeline.modeling.filters import first_filters, layers
from pipeline.modeling.levels import Level, levels, maps
from pipeline.modeling.zoo import ModelCard, load
from pipeline.runtime.contract import CONTRACT, Contract
from pipeline.runtime.preprocess import letterbox, place
from pipeline.vision.draw import caption, draw_boxes, encode_png, heat, sheet

FRAMES = 16  # of the validation split: what fields and filters are measured on
MAPS = 3  # of them whose maps are shown
CASES = 4  # of each kind
COLORS = {"hit": (0, 158, 115), "miss": (214, 39, 40), "false alarm": (255, 150, 0)}  # RGB, as in evaluate's gallery
TILE, GAP, TILES = 56, 4, 16  # pixels of a filter, between two pictures; filters a row
PERCENTILES = (5, 50, 95)

T = TypeVar("T")
Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Values = dict[str, Any]  # as in JSON


def spread(items: Sequence[T], count: int) -> list[T]:
    """So many items, evenly spaced; all where there are fewer."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def file_sizes(weights: Path, export: Path) -> Values:
    """Bytes of the weights, and of each artifact by target, all its files together."""
    targets = {}
    for path in sorted(export.glob(f"*/{CONTRACT}")):
        artifacts = Contract.read(path).artifacts
        targets[path.parent.name] = {
            name: sum((path.parent / file).stat().st_size for file in it.files) for name, it in artifacts.items()
        }
    return {"weights": (weights / "best.safetensors").stat().st_size, **targets}


def object_sizes(frames: Sequence[Frame], truths: Sequence[Truth], label: int, size: tuple[int, int]) -> Floats:
    """(N, 2) width and height in input pixels of the objects of one class; ignore regions are none."""
    found: list[NDArray[np.float32]] = [np.zeros((0, 4), np.float32)]
    for frame, truth in zip(frames, truths, strict=True):
        mine = ~truth.ignore & (truth.labels == label)
        found.append(place((frame.width, frame.height), size).to_input(truth.boxes[mine]))
    boxes = np.concatenate(found)
    return np.asarray(boxes[:, 2:] - boxes[:, :2], np.float64)


def describe(sizes: Floats) -> Values:
    """How many objects (N, 2), and percentiles of their widths and heights."""
    if not len(sizes):
        return {"objects": 0}
    by_side = {
        name: {f"p{q}": round(float(value), 1) for q, value in zip(PERCENTILES, values, strict=True)}
        for name, values in zip(("width", "height"), np.percentile(sizes, PERCENTILES, axis=0).T, strict=True)
    }
    return {"objects": len(sizes), **by_side}


def costs_of(model: Detector, size: tuple[int, int], sizes: Values) -> tuple[Values, list[Values]]:
    """What costs.json holds, with the bytes of all files, and the parts that cost most of it."""
    whole, *parts = costs(model, size)
    return {"parameters": whole.parameters, "macs": whole.macs, "bytes": sizes}, [asdict(part) for part in parts]


def of_level(level: Level, sizes: Floats) -> Values:
    """A level, and the share of objects (N, 2) that its effective receptive field holds whole."""
    held = {"holds": round(float((sizes.max(axis=1) <= level.effective).mean()), 4)} if len(sizes) else {}
    return asdict(level) | {"effective": round(level.effective, 1), **held}


def filter_sheet(weights: NDArray[np.float32]) -> bytes:
    """PNG of filters (N, D, k, k): of colours as colours around grey, of other channels their strength."""
    if weights.shape[1] == 3:
        scale = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
        tiles = 127.5 + 127.5 * (weights / np.maximum(scale, 1e-30)).transpose(0, 2, 3, 1)
    else:
        strength = np.linalg.norm(weights, axis=1)
        scale = strength.max(axis=(1, 2), keepdims=True)
        tiles = np.repeat((255 * strength / np.maximum(scale, 1e-30))[..., None], 3, axis=3)
    pixels = np.round(tiles).astype(np.uint8)
    enlarged = [cv2.resize(tile, (TILE, TILE), interpolation=cv2.INTER_NEAREST) for tile in pixels]
    columns = min(TILES, len(enlarged))
    return encode_png(sheet([np.asarray(t, np.uint8) for t in enlarged], columns, columns * (TILE + GAP) + GAP))


def map_sheet(model: Detector, images: Sequence[Picture]) -> bytes:
    """PNG of what each level makes of some pictures: a row a picture, the mean of |activation| over channels."""
    found = maps(model.requires_grad_(requires_grad=False), to_batch(images).to(next(model.parameters()).device))
    strength = [m.detach().float().abs().mean(1).cpu().numpy() for m in found]
    rows = []
    for i, image in enumerate(images):
        rows.append(caption(image, "input"))
        for m in strength:
            words = f"{m.shape[2]} x {m.shape[1]} cells"
            rows.append(caption(heat(image, m[i] - m[i].min()), words))
    columns = len(strength) + 1
    return encode_png(sheet(rows, columns, columns * (images[0].shape[1] + GAP) + GAP))


def look(model: Detector, image: Picture, size: tuple[int, int], case: Case) -> tuple[Values, Picture]:
    """What moves the score of one case: figures for explain.json, and the input under its heat."""
    placed, placement = letterbox(image, size)
    box = placement.to_input(case.box[None])
    seen = attend(model, placed, box[0], case.label)
    if isinstance(seen, str):
        return {"not_assessed": seen}, draw_boxes(placed, box, [""], COLORS[case.kind])
    share = float((box[0, 2:] - box[0, :2]).prod()) / (size[0] * size[1])
    figures = {"score": round(seen.score, 4), "inside": round(seen.inside, 4), "area": round(share, 4)}
    return figures, draw_boxes(heat(placed, seen.heat), box, [""], COLORS[case.kind])


def attention(
    model: Detector, frames: Path, sample: Sample, chosen: Sequence[Case], size: tuple[int, int]
) -> tuple[list[Values], bytes]:
    """What moves the score of each case: rows of explain.json, and a PNG."""
    rows, drawn = [], []
    images = pictures(frames, [sample.frames[case.position].frame_id for case in chosen])
    for case, (frame_id, image) in zip(chosen, images, strict=True):
        figures, picture = look(model, image, size, case)
        frame, label = sample.frames[case.position], sample.classes[case.label]
        where = {"frame_id": frame_id, "camera": frame.camera, "clip": frame.clip, "index": frame.index}
        rows.append({"kind": case.kind, "class": label, **where, **figures})
        words = f"{figures['inside']:.0%} in the box" if "inside" in figures else figures["not_assessed"]
        drawn.append(caption(picture, f"{case.kind}: {label}, {words}"))
    return rows, encode_png(sheet(drawn, CASES, CASES * (size[0] + GAP) + GAP))


def read_sample(weights: ModelCard, frames: Path, annotations: Path, splits: Path, evaluation: Path) -> Sample:
    """The benchmark, and what evaluate found there."""
    there, truths = labelled(frames, annotations, splits, Split.BENCHMARK, weights.classes)
    found = read_detections(evaluation / "detections.parquet", [frame.frame_id for frame in there])
    return Sample(there, truths, tuple(found[frame.frame_id] for frame in there), weights.classes)


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    names = ("weights", "export", "frames", "annotations", "splits", "evaluation", "out")
    args = stage_arguments(__doc__, *names).parse_args(argv)
    p, card = EvaluateParams.load("evaluate"), ModelCard.read(args.weights)
    size, data = (card.width, card.height), (args.frames, args.annotations, args.splits)
    model = on_device(load(args.weights), device())
    seen, _ = labelled(*data, Split.VAL, card.classes)
    if not seen:
        raise DataError(f"{args.splits}: the validation split holds no frame; leave it a share in split.fractions")
    images = [letterbox(it, size)[0] for _, it in pictures(args.frames, [it.frame_id for it in spread(seen, FRAMES)])]
    train = labelled(*data, Split.TRAIN, card.classes)
    sizes = {name: object_sizes(*train, label, size) for label, name in enumerate(card.classes)}
    every = np.concatenate(list(sizes.values()))
    found, judged, first = levels(model, images), layers(model, images, p.batch_size), first_filters(model)
    cost, parts = costs_of(model, size, file_sizes(args.weights, args.export))
    benchmark = read_sample(card, *data, args.evaluation)
    chosen = cases(benchmark, thresholds(args.evaluation / "operating.json", card.classes), p.match_iou, CASES)
    rows, attended = attention(model, args.frames, benchmark, chosen, size)
    report = {
        "input": size,
        "frames": len(images),
        "parts": parts,
        "levels": [of_level(level, every) for level in found],
        "objects": {name: describe(it) for name, it in sizes.items()},
        "first": {"name": first[0], "shape": first[1].shape} if first else None,
        "layers": [asdict(it) for it in judged],
        "cases": rows,
    }
    named = [(f"stride {it.stride}", it.effective, it.field) for it in found]
    with whole_folder(args.out) as out:
        write_json(out / "costs.json", cost)
        write_json(out / "explain.json", report)
        write_bytes(out / "figures" / "fields.png", fields(sizes, named, size))
        if first:
            write_bytes(out / "figures" / "filters.png", filter_sheet(first[1]))
        write_bytes(out / "figures" / "maps.png", map_sheet(model, spread(images, MAPS)))
        if rows:
            write_bytes(out / "figures" / "attention.png", attended)
    dead = sum(it.dead for it in judged)
    summary(
        "explain", f"{cost['parameters']:,} parameters, {cost['macs'] / 1e9:.3g} G multiply-adds, {dead} dead filters"
    )


if __name__ == "__main__":
    run(main)
