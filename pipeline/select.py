"""What should people label next?

Reads the trained weights, frames, annotations and splits, the figures of evaluate, the times of which the field test
found a camera in doubt, and the gate's verdict. Ranks the
usable frames that nobody has labelled, and labelled ones of train and val for a second look. Writes to --out:
select.json (the ranked frames, each with its signals and the reason), frames.txt (ids of the frames to label, for
`sightline labels push --only`), second_looks.txt and sheet.png.

Frames of the benchmark are never looked at, nor are those that the split would give to it: what a model chooses would
make it harder than what cameras see, and what is labelled near it would leak.
"""

from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.footage import Doubt, doubt, doubts_of
from pipeline.core.label_quality import Issue, label_issues
from pipeline.core.matching import Floats
from pipeline.core.params import DataParams, EvaluateParams, InputParams, SelectParams, SplitParams
from pipeline.core.partition import partition, spans
from pipeline.core.progress import progress
from pipeline.core.selection import (
    Pick,
    choose,
    combined,
    disagreement,
    doubts,
    nearest,
    rarity,
    standardised,
    uncertainty,
)
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.types import Detections, Frame, Split, Truth
from pipeline.core.weakness import Need, needs, needs_of, weakness
from pipeline.io.documents import thresholds
from pipeline.io.files import read_json, whole_folder, write_bytes, write_json
from pipeline.io.frames import pictures, truth_of
from pipeline.io.tables import read_frames, read_labelled
from pipeline.modeling.device import device, on_device
from pipeline.modeling.features import View, views
from pipeline.modeling.predict import rule_of
from pipeline.modeling.zoo import load
from pipeline.runtime.preprocess import letterbox
from pipeline.vision.draw import caption, draw_boxes, encode_png, sheet

MAY_LEARN = (Split.TRAIN, Split.VAL)
CELL = 360  # pixels: width of a picture on the sheet
COLUMNS = 4
ORANGE = (255, 150, 0)  # RGB
TOLD = 2  # signals that a reason names


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """What can be chosen, and what not."""

    unlabelled: tuple[Frame, ...]  # that the split would give to train or val
    labelled: tuple[Frame, ...]  # of train and val
    splits: Mapping[str, Split]  # of the labelled frames of train and val
    taken: tuple[Frame, ...]  # labelled frames of any split
    left_out: Mapping[str, int]  # unlabelled frames that the split would give to benchmark or gap


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the detector makes of one candidate. Boxes below the operating threshold are in `view` alone."""

    frame: Frame
    view: View
    reported: Detections
    met: tuple[Need, ...]  # conditions that it is in
    signals: dict[str, float]  # name -> 0..1
    doubt: Doubt | None  # of the camera at that time
    issue: Issue | None = None  # the most suspect label


Choice = tuple[Seen, Pick, float]  # a frame, how it was chosen, its score


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What is chosen, and what is said of it."""

    chosen: list[Choice]  # to label
    again: list[Choice]  # to look at again
    figures: dict[str, Any]


def pool_of(frames: Sequence[Frame], looked_at: set[str], splits: Mapping[str, Split], p: SplitParams) -> Pool:
    """Sort the usable frames.

    Args:
        frames: everything ingested.
        looked_at: ids of labelled frames.
        splits: of the labelled frames of train and val.
        p: section `split`: where an unlabelled frame would go.

    Raises:
        ConfigError: `split.by` does not fit a frame that nobody has labelled yet.
    """
    usable = [frame for frame in frames if frame.usable]
    goes = {a.frame_id: a.split for a in partition(usable, spans(frames), p)}
    new = [frame for frame in usable if frame.frame_id not in looked_at]
    left_out = Counter(str(goes[frame.frame_id]) for frame in new if goes[frame.frame_id] not in MAY_LEARN)
    return Pool(
        unlabelled=tuple(frame for frame in new if goes[frame.frame_id] in MAY_LEARN),
        labelled=tuple(frame for frame in usable if frame.frame_id in splits),
        splits=splits,
        taken=tuple(frame for frame in usable if frame.frame_id in looked_at),
        left_out=dict(sorted(left_out.items())),
    )


def detect(args: Namespace, pool: Pool) -> list[View]:
    """Every candidate as the detector sees it: the unlabelled ones, then the labelled ones."""
    p, size = EvaluateParams.load("evaluate"), InputParams.load("input")
    ids = [frame.frame_id for frame in (*pool.unlabelled, *pool.labelled)]
    found = views(
        on_device(load(args.weights), device()),
        pictures(args.frames, ids),
        target=(size.width, size.height),
        rule=rule_of(p),
        batch_size=p.batch_size,
    )
    return list(progress(found, desc="select", total=len(ids), unit="frame"))


def judge(
    pool: Pool,
    seen: Sequence[View],
    truths: Mapping[str, Truth],
    every: Sequence[Need],
    in_doubt: Sequence[Doubt],
    thresholds: Mapping[str, float],
    match_iou: float,
) -> tuple[list[Seen], Floats]:
    """Signals of every candidate, and the standardised embeddings (N, D), in the order of `seen`."""
    classes, at = tuple(thresholds), np.array(list(thresholds.values()), np.float64)
    frames = (*pool.unlabelled, *pool.labelled)
    embeddings = standardised(np.stack([view.embedding for view in seen])) if seen else np.zeros((0, 1))
    new = len(pool.unlabelled)
    known = np.array([pool.splits.get(frame.frame_id) is Split.TRAIN for frame in frames], np.bool_)
    rare = rarity(nearest(embeddings[:new], embeddings[known]))
    own = {view.frame_id: view.found for view in seen[new:]}
    suspects = label_issues(list(own), [truths[i] for i in own], list(own.values()), at, match_iou)
    worst = {issue.frame_id: issue for issue in reversed(suspects)}
    judged = []
    for i, (frame, view) in enumerate(zip(frames, seen, strict=True)):
        reported = view.found.above(at)
        met = tuple(needs_of(frame, reported, classes, every))
        issue = worst.get(frame.frame_id)
        doubtful = doubt(frame, in_doubt)
        signals = {
            "uncertainty": uncertainty(view.found, at),
            "disagreement": disagreement(view.found, view.mirrored, at),
            "weakness": weakness(met),
            "health": doubtful.severity if doubtful else 0.0,
            **({"rarity": float(rare[i])} if i < new else {"suspicion": issue.suspicion if issue else 0.0}),
        }
        judged.append(Seen(frame, view, reported, met, signals, doubtful, issue))
    return judged, embeddings


def reason(it: Seen, weights: Mapping[str, float], thresholds: Mapping[str, float]) -> str:
    """Why a frame was chosen, in plain words: the signals that count most in its score."""
    told = {
        "uncertainty": _undecided(it, thresholds),
        "disagreement": "its mirror image is seen otherwise",
        "weakness": _weakest(it.met),
        "health": it.doubt.why if it.doubt else "no doubt of the camera",
        "rarity": f"{it.signals.get('rarity', 0.0):.0%} of the candidates are nearer to the training frames",
        "suspicion": _suspect(it.issue, tuple(thresholds)),
    }
    share = {name: weights[name] * value for name, value in it.signals.items()}
    order = sorted(share, key=lambda name: (name != "suspicion", -share[name], name))  # a doubt must be told
    counted = [name for name in order if share[name] > 0][:TOLD]
    return "; ".join(told[name] for name in counted) or "no signal: chosen for its camera's turn and its distance"


def _undecided(it: Seen, thresholds: Mapping[str, float]) -> str:
    classes, at = tuple(thresholds), np.array(list(thresholds.values()), np.float64)
    doubt = doubts(it.view.found, at)
    if not doubt.any():
        return "no box near its threshold"
    best = int(doubt.argmax())
    label, score = int(it.view.found.labels[best]), float(it.view.found.scores[best])
    count = int((doubt > 0).sum())
    boxes = "1 box" if count == 1 else f"{count} boxes"
    return f"{boxes} near the threshold, such as {classes[label]} at {score:.2f} (threshold {at[label]:.2f})"


def _weakest(met: Sequence[Need]) -> str:
    if not met:
        return "no known condition"
    worst = max(met, key=lambda need: need.need)
    return f"{worst.condition} {worst.value}: {worst.words}"


def _suspect(issue: Issue | None, classes: Sequence[str]) -> str:
    if issue is None:
        return "no label in doubt"
    return f"{str(issue.kind).replace('_', ' ')}? The model says {classes[issue.label]} at {issue.score:.2f}"


def ranked(
    judged: Sequence[Seen], embeddings: Floats, taken: Sequence[Frame], budget: int, p: SelectParams
) -> tuple[list[Choice], int]:
    """The frames chosen, with their scores, and how many were near duplicates of frames taken."""
    scores = combined([it.signals for it in judged], p.weights.model_dump())
    picks, duplicates = choose(scores, embeddings, [it.frame for it in judged], taken, budget, p)
    return [(judged[pick.index], pick, float(scores[pick.index])) for pick in picks], duplicates


def rows(
    chosen: Sequence[Choice],
    splits: Mapping[str, Split],
    p: SelectParams,
    thresholds: Mapping[str, float],
) -> list[dict[str, Any]]:
    """The chosen frames as plain values, the first to label first."""
    weights = p.weights.model_dump()
    return [
        {
            "rank": rank,
            "frame_id": it.frame.frame_id,
            "camera": it.frame.camera,
            "clip": it.frame.clip,
            "index": it.frame.index,
            "split": str(splits[it.frame.frame_id]) if it.frame.frame_id in splits else None,
            "score": round(score, 4),
            "novelty": round(pick.novelty, 4),
            "signals": {name: round(value, 4) for name, value in it.signals.items()},
            "reason": reason(it, weights, thresholds),
        }
        for rank, (it, pick, score) in enumerate(chosen, 1)
    ]


def draw(image: NDArray[np.uint8], it: Seen, rank: int, classes: Sequence[str]) -> NDArray[np.uint8]:
    """A chosen frame, (H, W, 3) RGB, in the sheet's size, with the boxes that the detector reports."""
    height = max(1, round(image.shape[0] * CELL / image.shape[1]))
    canvas, placement = letterbox(image, (CELL, height))
    found = it.reported
    words = [f"{classes[k]} {s:.2f}" for k, s in zip(found.labels, found.scores, strict=True)]
    drawn = draw_boxes(canvas, placement.to_input(found.boxes), words, ORANGE)
    top = max(it.signals, key=lambda name: it.signals[name])
    return caption(drawn, f"{rank}. {it.frame.camera} #{it.frame.index} {top} {it.signals[top]:.2f}")


def picture_sheet(frames: Path, chosen: Sequence[Choice], count: int, classes: Sequence[str]) -> bytes:
    """PNG of the first frames to label."""
    shown = [it for it, _, _ in chosen[:count]]
    images = pictures(frames, [it.frame.frame_id for it in shown])
    drawn = [draw(image, it, rank, classes) for rank, (it, (_, image)) in enumerate(zip(shown, images, strict=True), 1)]
    legend = "frames to label, best first; what the model reports now in orange; the strongest signal below"
    told = legend if drawn else "no frame to label: every usable frame is labelled, or looks like one that is"
    return encode_png(caption(sheet(drawn, columns=COLUMNS, width=COLUMNS * CELL + 20), told))


def told(pool: Pool, judged: Sequence[Seen], embeddings: Floats, at: Mapping[str, float], p: SelectParams) -> Told:
    """The choice, and what select.json says of it."""
    new = len(pool.unlabelled)
    doubtful = [i for i in range(new, len(judged)) if judged[i].issue is not None]
    chosen, duplicates = ranked(judged[:new], embeddings[:new], pool.taken, p.budget, p)
    again, _ = ranked([judged[i] for i in doubtful], embeddings[doubtful], (), p.second_looks, p)
    left_out = {f"the split would give it to {name}": count for name, count in pool.left_out.items()}
    figures = {
        "budget": p.budget,
        "unlabelled": new + sum(pool.left_out.values()),
        "left_out": {**left_out, "looks like a labelled one": duplicates},
        "labelled": len(pool.labelled),
        "in_doubt": len(doubtful),
        "frames": rows(chosen, pool.splits, p, at),
        "second_looks": rows(again, pool.splits, p, at),
    }
    return Told(chosen, again, figures)


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    names = ("weights", "frames", "annotations", "splits", "evaluation", "fieldtest", "gate", "out")
    args = stage_arguments(__doc__, *names).parse_args(argv)
    p, classes = SelectParams.load("select"), DataParams.load("data").classes
    looked_at = {row.frame_id for row in read_labelled(args.annotations / "labelled.parquet")}
    truths = {split: truth_of(args.annotations, args.splits, split, classes) for split in MAY_LEARN}
    splits = {frame_id: split for split, some in truths.items() for frame_id in some}
    pool = pool_of(read_frames(args.frames / "frames.parquet"), looked_at, splits, SplitParams.load("split"))
    chosen = thresholds(args.evaluation / "operating.json", classes)
    at = dict(zip(classes, chosen.tolist(), strict=True))
    reports = (args.evaluation / "preconditions.json", args.evaluation / "comparisons.json", args.gate)
    every = needs(*map(read_json, reports))
    boxes = {frame_id: truth for some in truths.values() for frame_id, truth in some.items()}
    in_doubt = doubts_of(read_json(args.fieldtest / "fieldtest.json"))
    match_iou = EvaluateParams.load("evaluate").match_iou
    judged, embeddings = judge(pool, detect(args, pool), boxes, every, in_doubt, at, match_iou)
    result = told(pool, judged, embeddings, at, p)
    with whole_folder(args.out) as out:
        write_json(out / "select.json", result.figures)
        for name, some in (("frames", result.chosen), ("second_looks", result.again)):
            write_bytes(out / f"{name}.txt", "".join(f"{it.frame.frame_id}\n" for it, _, _ in some).encode())
        write_bytes(out / "sheet.png", picture_sheet(args.frames, result.chosen, p.pictures, classes))
    counts = f"{len(result.chosen)} of {result.figures['unlabelled']} unlabelled frames to label"
    summary("select", f"{counts}, {len(result.again)} labelled ones to look at again")


if __name__ == "__main__":
    run(main)
