"""What do people say is in the frames, and do they agree?

Reads annotations (Label Studio, COCO, VOC or YOLO, by data.labels.format) and the frames of ingest. Writes
annotations.parquet, labelled.parquet (every frame that somebody has looked at, even where they found nothing),
coco.json for other tools, and annotate.json: counts, agreement, and what was left out and why.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.core.agreement import Agreement, agreement, consensus
from pipeline.core.annotators import Share, by_annotator, shares
from pipeline.core.errors import DataError
from pipeline.core.params import AnnotateParams, DataParams
from pipeline.core.progress import progress
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.statistics import MIN_CLUSTERS, bootstrap_mean
from pipeline.core.types import Annotation, Frame, LabelledFrame
from pipeline.io.files import whole_folder, write_bytes, write_json
from pipeline.io.formats.coco import read_coco, to_coco
from pipeline.io.formats.label_studio import read_label_studio
from pipeline.io.formats.lookup import frame_path
from pipeline.io.formats.record import Region, Task, Version, pixels
from pipeline.io.formats.voc import read_voc
from pipeline.io.formats.yolo import read_yolo
from pipeline.io.placement import Stored, Tally, place
from pipeline.io.shards import ShardReader
from pipeline.io.tables import read_frames, write_annotations, write_labelled

WORST = 20  # tasks listed as the worst disagreements


@dataclass(frozen=True, slots=True)
class Labelled:
    """One frame with what its annotators say together."""

    frame: Frame
    task: Task
    annotations: tuple[Annotation, ...]
    agreement: Agreement | None  # None with one annotator
    disputed: int
    outvoted: int
    shares: tuple[Share, ...]  # of the annotators who have a name

    @property
    def annotators(self) -> tuple[str, ...]:
        """Who looked at it."""
        return tuple(version.annotator for version in self.task.versions if version.annotator)


def label(
    tasks: Sequence[Task], frames: Sequence[Frame], data: DataParams, p: AnnotateParams, stored: Stored | None = None
) -> tuple[list[Labelled], Tally]:
    """Put the tasks' boxes on their frames, in the frames' order.

    Args:
        tasks: as a format's reader gives them.
        frames: of ingest, usable or not.
        data: what the labels mean.
        p: what to do where a task is not as it should be.
        stored: reads a frame's bytes, to tell a picture that lies on its side; without it, none does.

    Raises:
        DataError: a task is not as it should be and the parameters do not allow to count it; names task and way out.
    """
    tally = Tally()
    if p.unknown_label == "error":
        _refuse_unknown_labels(tasks, data)
    chosen = place(tasks, frames, p, tally, video=data.format == "video", stored=stored)
    labelled = [
        _labelled(frame, chosen[frame.frame_id], data, p, tally)
        for frame in progress(frames, desc="annotate", unit="frame")
        if frame.usable and frame.frame_id in chosen
    ]
    return labelled, tally


def _known(data: DataParams) -> set[str]:
    return {*data.classes, *data.count_only, *data.ignore}


def _refuse_unknown_labels(tasks: Sequence[Task], data: DataParams) -> None:
    first: dict[str, str] = {}
    for task in tasks:
        for version in task.versions:
            for region in (*version.regions, *(track.region for track in version.tracks)):
                first.setdefault(region.label, task.id)
    unknown = [(name, task) for name, task in first.items() if data.rename.get(name, name) not in _known(data)]
    if not unknown:
        return
    name, task_id = unknown[0]
    others = f"; likewise {', '.join(repr(n) for n, _ in unknown[1:])}" if unknown[1:] else ""
    raise DataError(
        f"task {task_id} has label {name!r}, which data.classes does not name; add it or map it in data.rename, "
        f"or set annotate.unknown_label=count to leave it out{others}"
    )


def _labelled(frame: Frame, task: Task, data: DataParams, p: AnnotateParams, tally: Tally) -> Labelled:
    drawn = [_drawn(task, version, frame, data, p, tally) for version in task.versions]
    settled = [boxes for boxes, version in zip(drawn, task.versions, strict=True) if version.ground_truth]
    together = consensus(settled or drawn, p.consensus_iou)
    names = [version.annotator for version in task.versions]
    return Labelled(
        frame,
        task,
        together.annotations,
        agreement(drawn, p.consensus_iou),
        together.disputed,
        together.outvoted,
        shares(names, drawn, together.annotations, p.consensus_iou),
    )


def _drawn(
    task: Task, version: Version, frame: Frame, data: DataParams, p: AnnotateParams, tally: Tally
) -> list[Annotation]:
    """One annotator's boxes in the frame's pixels; those left out are counted."""
    known = _known(data)
    boxes = []
    for region in version.regions:
        name = data.rename.get(region.label, region.label)
        if name not in known:
            tally.leave_out(f"unknown label {region.label!r}", task)
            continue
        place = _checked_box(task, region, frame, p, tally)
        if place is None:
            continue
        boxes.append(
            Annotation(
                frame.frame_id,
                name,
                *place,
                ignore=region.ignore or name in data.ignore,
                track_id=region.track_id,
                attributes=region.attributes,
                origin=region.origin,
                annotators=(version.annotator,) if version.annotator else (),
            )
        )
    return boxes


def _checked_box(
    task: Task, region: Region, frame: Frame, p: AnnotateParams, tally: Tally
) -> tuple[float, float, float, float] | None:
    """Left, top, width, height within the frame; None where nothing is left of the box.

    Raises:
        DataError: the box is empty or reaches past the edge, and the parameters forbid that.
    """
    x, y, width, height = pixels(region, (frame.width, frame.height))
    what = f"task {task.id}: the {region.label!r} box at ({x:g}, {y:g}), {width:g} x {height:g} pixels,"
    if not width or not height:
        message = f"{what} has no area; delete it at its source, or set annotate.zero_area=count"
        tally.judge(p.zero_area, "box without area", task, message)
        return None
    if region.width < 0 or region.height < 0:
        tally.mended["negative side"] += 1
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(round(x + width, 4), frame.width), min(round(y + height, 4), frame.height)
    if left == x and top == y and right == round(x + width, 4) and bottom == round(y + height, 4):
        return x, y, width, height
    if p.outside_frame == "error":
        size = f"{frame.width}x{frame.height}"
        raise DataError(f"{what} reaches past its frame of {size}; correct it, or set annotate.outside_frame=clip")
    if right <= left or bottom <= top:
        tally.leave_out("box outside the frame", task)
        return None
    tally.mended["clipped"] += 1
    return left, top, round(right - left, 4), round(bottom - top, 4)


def report(labelled: Sequence[Labelled], frames: Sequence[Frame], tally: Tally) -> dict[str, Any]:
    """The content of annotate.json."""
    boxes = [a for item in labelled for a in item.annotations]
    kept = [a for a in boxes if not a.ignore]
    attributes: dict[str, Counter[str]] = {}
    for box in kept:
        for name, value in box.attributes.items():
            attributes.setdefault(name, Counter())[value] += 1
    return {
        "frames": {
            "usable": sum(frame.usable for frame in frames),
            "labelled": len(labelled),
            "labelled_empty": sum(not item.annotations for item in labelled),
        },
        "boxes": Counter(a.label for a in kept),
        "ignore_regions": sum(a.ignore for a in boxes),
        "origins": Counter(a.origin for a in boxes),
        "attributes": attributes,
        "annotators": by_annotator(share for item in labelled for share in item.shares),
        "agreement": _agreement_report(labelled),
        "mended": dict(+tally.mended),
        "left_out": {
            kind: {"count": count, "tasks": tally.examples[kind]} for kind, count in sorted(tally.left_out.items())
        },
    }


def _agreement_report(labelled: Sequence[Labelled]) -> dict[str, Any]:
    several = [(item, item.agreement) for item in labelled if item.agreement]
    overlaps = [agreed.iou for _, agreed in several if agreed.iou is not None]
    scores = [agreed.f1 for _, agreed in several]
    worst = sorted(several, key=lambda pair: (pair[1].f1, 1.0 if pair[1].iou is None else pair[1].iou))[:WORST]
    return {
        "tasks": len(several),
        "mean_iou": sum(overlaps) / len(overlaps) if overlaps else None,
        "mean_f1": sum(scores) / len(scores) if scores else None,
        "interval_iou": _interval(overlaps),
        "interval_f1": _interval(scores),
        "disputed_boxes": sum(item.disputed for item in labelled),
        "outvoted_boxes": sum(item.outvoted for item in labelled),
        "worst": [
            {
                "task": item.task.id,
                "frame_id": item.frame.frame_id,
                "camera": item.frame.camera,
                "clip": item.frame.clip,
                "index": item.frame.index,
                "f1": agreed.f1,
                "iou": agreed.iou,
                "disputed": item.disputed,
                "outvoted": item.outvoted,
            }
            for item, agreed in worst
        ],
    }


def _interval(values: Sequence[float]) -> dict[str, Any]:
    """95 % interval of the mean, a value a task; where there is none, the reason."""
    found = bootstrap_mean(values)
    if found:
        return {"low": found[0], "high": found[1]}
    few = len(values) < MIN_CLUSTERS
    return {"not_assessable": f"fewer than {MIN_CLUSTERS} tasks" if few else f"alike in all {len(values)} tasks"}


def coco(labelled: Sequence[Labelled], data: DataParams) -> dict[str, Any]:
    """The content of coco.json. An ignore region without a class of its own stands once for every class."""
    categories = [*data.classes, *data.count_only]
    doc = to_coco([_task(item, data) for item in labelled], categories)
    for image, item in zip(doc["images"], labelled, strict=True):
        image["frame_id"] = item.frame.frame_id
    return doc


def _task(item: Labelled, data: DataParams) -> Task:
    frame = item.frame
    video = data.format == "video"
    regions = tuple(
        Region(
            name,
            a.x / frame.width,
            a.y / frame.height,
            a.width / frame.width,
            a.height / frame.height,
            a.ignore,
            a.track_id,
            a.attributes,
        )
        for a in item.annotations
        for name in (data.classes if a.label in data.ignore else [a.label])
    )
    return Task(
        frame.frame_id,
        (frame_path(frame, video=video),),
        (Version(regions),),
        (frame.width, frame.height),
        frame.camera,
        frame.clip,
        frame.index if video else None,
    )


def _labelled_frame(item: Labelled) -> LabelledFrame:
    agreed = item.agreement
    return LabelledFrame(
        item.frame.frame_id,
        item.task.id,
        item.annotators,
        agreed.iou if agreed else None,
        agreed.f1 if agreed else None,
    )


def _summary(content: Mapping[str, Any]) -> str:
    boxes = ", ".join(f"{count} {name}" for name, count in sorted(content["boxes"].items())) or "no box"
    agreed = content["agreement"]
    several = f"; {agreed['tasks']} by several annotators, F1 {agreed['mean_f1']:.3f}" if agreed["tasks"] else ""
    left = sum(kind["count"] for kind in content["left_out"].values())
    return (
        f"{content['frames']['labelled']} frames labelled: {boxes}{several}; {left} things left out, see annotate.json"
    )


def read_tasks(path: Path, data: DataParams, p: AnnotateParams) -> list[Task]:
    """The tasks, as the format of data.labels has them. Raises DataError as its reader."""
    readers: Mapping[str, Callable[[Path], list[Task]]] = {
        "label_studio": partial(read_label_studio, polygon_boxes=p.polygons == "boxes"),
        "coco": read_coco,
        "voc": read_voc,
        "yolo": read_yolo,
    }
    return readers[data.labels.format](path)


def main(argv: list[str] | None = None) -> None:
    """Read the annotations, write the tables."""
    args = stage_arguments(__doc__, "labels", "frames", "out").parse_args(argv)
    data, p = DataParams.load("data"), AnnotateParams.load("annotate")
    frames = read_frames(args.frames / "frames.parquet")
    with ShardReader(args.frames) as shards:
        labelled, tally = label(read_tasks(args.labels, data, p), frames, data, p, shards.read)
    if not labelled:
        left = ", ".join(f"{count} {kind}" for kind, count in sorted(tally.left_out.items()))
        raise DataError(
            f"{args.labels} labels no frame of {args.frames} ({left}); check data.path and data.labels.path"
        )
    content = report(labelled, frames, tally)
    with whole_folder(args.out) as out:
        write_annotations(out / "annotations.parquet", (a for item in labelled for a in item.annotations))
        write_labelled(out / "labelled.parquet", map(_labelled_frame, labelled))
        write_bytes(out / "coco.json", json.dumps(coco(labelled, data), sort_keys=True, allow_nan=False).encode())
        write_json(out / "annotate.json", content)
    summary("annotate", _summary(content))


if __name__ == "__main__":
    run(main)
