"""Which conditions are missing, and what stands in for them?

Reads the frames of the train split alone, and their annotations. Writes training shards (`io.training`): every frame
letterboxed to the model's input, decoded, with `augment.copies` augmented versions; preview.png, some of them with
their boxes; and augment.json, what was done.

A policy runs on the letterboxed picture: that is several times fewer pixels than the source, and a strength means the
same for every camera's resolution. The bars around the picture are grey again afterwards.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.boxes import area
from pipeline.core.errors import DataError
from pipeline.core.parallel import map_ordered
from pipeline.core.params import AugmentParams, ComputeParams, DataParams, InputParams
from pipeline.core.progress import progress
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.types import Frame, Split, Truth
from pipeline.io.files import sha256, whole_folder, write_bytes, write_json
from pipeline.io.frames import find, truth_of
from pipeline.io.images import decode
from pipeline.io.shards import ShardReader, by_id
from pipeline.io.tables import read_frames
from pipeline.io.training import Example, TrainingWriter
from pipeline.runtime.preprocess import FILL, letterbox, scaled
from pipeline.vision.draw import caption, draw_boxes, encode_png, sheet
from pipeline.vision.policies import Policy, check, policy

CHUNK = 16  # frames a worker takes at once
SHEET_COLUMNS, SHEET_WIDTH = 6, 1920
COLORS = ((0, 158, 115), (255, 150, 0), (60, 130, 255), (214, 39, 40), (190, 80, 220))  # RGB, a class
GREY = (150, 150, 150)  # ignore regions


Picture = NDArray[np.uint8]  # (H, W, 3) RGB


@dataclass(frozen=True, slots=True)
class Settings:
    """The sections of params.yaml that decide what comes out."""

    input: InputParams
    data: DataParams
    augment: AugmentParams

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the input, pixels."""
        return self.input.width, self.input.height


@dataclass(frozen=True, slots=True)
class Job:
    """Some frames of the train split and what is truly in them."""

    frames: tuple[Frame, ...]
    truths: tuple[Truth, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """One training picture and how it came about."""

    example: Example
    operations: tuple[str, ...]
    too_small: int  # boxes that became ignore regions, because of their area
    too_hidden: int  # the same, because of the share of them that is still visible


def make(job: Job, folder: Path, size: tuple[int, int], p: AugmentParams) -> list[Made]:
    """The training pictures of some frames: each as it is, then its copies.

    Args:
        job: the frames.
        folder: of the frames' shards.
        size: width and height of the input, pixels.
        p: section `augment`.

    Raises:
        DataError: a frame's bytes are missing or broken.
    """
    cv2.setNumThreads(1)  # the workers share the cores
    policies = [policy((), p.min_visibility, p.min_area)]
    policies += [policy(p.steps, p.min_visibility, p.min_area)] * p.copies
    with ShardReader(folder) as reader:
        pairs = zip(job.frames, job.truths, strict=True)
        return [
            made for frame, truth in pairs for made in versions(frame, truth, _open(reader, frame), size, policies, p)
        ]


def _open(reader: ShardReader, frame: Frame) -> Picture:
    try:
        return decode(reader.read(frame))
    except DataError as error:
        raise DataError(f"frame {frame.frame_id} ({frame.source}): {error}") from None


def versions(
    frame: Frame, truth: Truth, image: Picture, size: tuple[int, int], policies: Sequence[Policy], p: AugmentParams
) -> Iterator[Made]:
    """One training picture a policy; arguments as of `make`, `image` is the decoded frame."""
    picture, placement = letterbox(image, size)
    boxes = placement.to_input(truth.boxes)
    width, height = scaled((image.shape[1], image.shape[0]), placement.scale)
    bars = np.ones((*picture.shape[:2], 1), np.bool_)
    bars[placement.top : placement.top + height, placement.left : placement.left + width] = False
    for copy, change in enumerate(policies):
        seed = int(sha256(f"{p.seed}/{frame.frame_id}/{copy}".encode())[:16], 16)
        changed = change(picture, boxes, seed)
        lost = np.setdiff1d(np.arange(len(boxes)), changed.index)
        order = np.concatenate([changed.index, lost])
        example = Example(
            frame.frame_id,
            copy,
            np.where(bars, np.uint8(FILL), changed.image),
            np.concatenate([changed.boxes, boxes[lost]]),  # no operation moves a box, so a lost one is where it was:
            truth.labels[order],
            truth.ignore[order] | (np.arange(len(order)) >= len(changed.index)),  # ignored, not taught as background
        )
        dropped = lost[~truth.ignore[lost]]
        small = int((area(boxes[dropped]) < p.min_area).sum())
        yield Made(example, changed.operations, small, len(dropped) - small)


def jobs_of(frames: Sequence[Frame], truths: Sequence[Truth]) -> list[Job]:
    """The work in chunks."""
    starts = range(0, len(frames), CHUNK)
    return [Job(tuple(frames[i : i + CHUNK]), tuple(truths[i : i + CHUNK])) for i in starts]


def previewed(truths: Sequence[Truth], count: int) -> set[int]:
    """Positions of the frames on the preview sheet: evenly spread over those with boxes."""
    shown = [i for i, truth in enumerate(truths) if len(truth)] or list(range(len(truths)))
    return {shown[i] for i in np.linspace(0, len(shown) - 1, min(count, len(shown))).astype(int)}


def preview(pictures: Sequence[Made], versions_a_frame: int, classes: Sequence[str]) -> Picture:
    """A contact sheet: each original, then its copies, with boxes and the operations' names."""
    columns = versions_a_frame * max(1, SHEET_COLUMNS // versions_a_frame)
    return sheet([_drawn(made, classes) for made in pictures], columns, SHEET_WIDTH)


def _drawn(made: Made, classes: Sequence[str]) -> Picture:
    example = made.example
    image = draw_boxes(example.image, example.boxes[example.ignore], [""] * int(example.ignore.sum()), GREY)
    for label, name in enumerate(classes):
        boxes = example.boxes[(example.labels == label) & ~example.ignore]
        image = draw_boxes(image, boxes, [name] * len(boxes), COLORS[label % len(COLORS)])
    return caption(image, ", ".join(made.operations) or ("unchanged" if example.copy else "original"))


def write(results: Iterable[Made], frames: int, shown: set[int], out: Path, settings: Settings) -> dict[str, Any]:
    """Write shards, table and preview as the pictures come, and give what augment.json holds.

    Args:
        results: the versions of each frame, frame by frame.
        frames: how many.
        shown: positions of the frames on the preview sheet.
        out: an existing folder.
        settings: sections of params.yaml.
    """
    p, classes = settings.augment, settings.data.classes
    each = p.copies + 1
    samples: list[Made] = []
    counts: Counter[str] = Counter()
    operations: Counter[str] = Counter()
    objects: Counter[int] = Counter()
    with TrainingWriter(out, frames * each, settings.size, p.shard_frames) as writer:
        for number, made in enumerate(progress(results, desc="augment", total=frames * each, unit=" pictures")):
            writer.write(made.example)
            operations.update(made.operations)
            objects.update(made.example.labels[~made.example.ignore].tolist())
            counts.update(ignore_regions=int(made.example.ignore.sum()))
            counts.update(too_small=made.too_small, too_hidden=made.too_hidden)
            samples += [made] if number // each in shown else []
    if samples:
        write_bytes(out / "preview.png", encode_png(preview(samples, each, classes)))
    return {
        "policy": p.policy,
        "size": list(settings.size),
        "frames": frames,
        "pictures": frames * each,
        "boxes": {name: objects[label] for label, name in enumerate(classes)},
        "ignore_regions": counts["ignore_regions"],
        "made_ignore": {"too_small": counts["too_small"], "too_hidden": counts["too_hidden"]},
        "operations": {step.op: operations[step.op] for step in p.steps},
    }


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    args = stage_arguments(__doc__, "frames", "annotations", "splits", "out").parse_args(argv)
    settings = Settings(InputParams.load("input"), DataParams.load("data"), AugmentParams.load("augment"))
    workers = ComputeParams.load("compute").workers
    check(settings.augment.steps)
    truths = truth_of(args.annotations, args.splits, Split.TRAIN, settings.data.classes)
    known = by_id(read_frames(args.frames / "frames.parquet"))
    frames = [find(known, frame_id, args.frames) for frame_id in truths]
    jobs = jobs_of(frames, list(truths.values()))
    work = partial(make, folder=args.frames, size=settings.size, p=settings.augment)
    results = chain.from_iterable(map_ordered(work, jobs, workers))
    shown = previewed(list(truths.values()), settings.augment.preview)
    with whole_folder(args.out) as folder:
        report = write(results, len(frames), shown, folder, settings)
        write_json(folder / "augment.json", report)
    boxes = ", ".join(f"{count} {name}" for name, count in report["boxes"].items())
    summary("augment", f"{report['pictures']} pictures of {report['frames']} frames by {report['policy']}; {boxes}")


if __name__ == "__main__":
    run(main)
