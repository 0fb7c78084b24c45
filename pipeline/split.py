"""What may the model see, and what must it never see?

Reads the frames and annotations. Writes splits.parquet (the split and group of every usable, labelled frame) and
split.json (what each split holds). Whichever way the split was made, a leakage check of its own follows: the same
content, look, group or moment in two splits fails the stage (`core.leakage`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.core.errors import DataError
from pipeline.core.leakage import check
from pipeline.core.params import DataParams, SplitParams
from pipeline.core.partition import partition, spans
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.types import Annotation, Assignment, Frame, LabelledFrame, Split
from pipeline.io.files import whole_folder, write_json
from pipeline.io.shards import by_id
from pipeline.io.tables import read_annotations, read_frames, read_labelled, write_splits

SPLITS = (Split.TRAIN, Split.VAL, Split.BENCHMARK)


def assign(frames: Sequence[Frame], labelled: Sequence[LabelledFrame], p: SplitParams) -> list[Assignment]:
    """Assign the usable, labelled frames, in the order of `frames`, and check that nothing leaks.

    Raises:
        ConfigError: `split.by` does not fit the frames.
        DataError: no frame is usable and labelled, or a split that has a share got none.
        LeakageError: the same scene reached two splits.
    """
    looked_at = {row.frame_id for row in labelled}
    chosen = [frame for frame in frames if frame.usable and frame.frame_id in looked_at]
    if not chosen:
        raise DataError(
            f"split: none of {len(frames)} frames is usable and labelled; annotate some, or look into ingest.json "
            "and annotate.json for what was left out"
        )
    assignments = partition(chosen, spans(frames), p)
    check(by_id(chosen), assignments, p.near_duplicate_bits, p.gap_s)
    _none_empty(assignments, p)
    return assignments


def _none_empty(assignments: Sequence[Assignment], p: SplitParams) -> None:
    counts = Counter(assignment.split for assignment in assignments)
    shares = {Split.TRAIN: p.fractions.train, Split.VAL: p.fractions.val, Split.BENCHMARK: 1.0}
    empty = [split for split in SPLITS if shares[split] and not counts[split]]
    if empty:
        groups = len({assignment.group for assignment in assignments})
        raise DataError(
            f"split: no frame for {', '.join(empty)}: {len(assignments)} labelled frames in {groups} groups are too "
            f"few for these shares; add data, or choose another split.by (now {p.by}), split.fractions or split.seed"
        )


def describe(
    frames: Mapping[str, Frame], annotations: Sequence[Annotation], assignments: Sequence[Assignment], data: DataParams
) -> dict[str, Any]:
    """What each split holds, for split.json. Ignore regions are no objects."""
    split_of = {assignment.frame_id: assignment.split for assignment in assignments}
    names = (*data.classes, *data.count_only)
    objects = Counter((split_of[a.frame_id], a.label) for a in annotations if not a.ignore and a.frame_id in split_of)
    parts = {}
    for split in SPLITS:
        own = [a for a in assignments if a.split is split]
        parts[str(split)] = {
            "frames": len(own),
            "objects": {name: objects[split, name] for name in names},
            "cameras": dict(sorted(Counter(frames[a.frame_id].camera for a in own).items())),
            "groups": len({a.group for a in own}),
        }
    gap = sum(a.split is Split.GAP for a in assignments)
    return {"splits": parts, "left_out_in_gaps": gap, "warnings": warnings(parts, data.classes)}


def warnings(parts: Mapping[str, Mapping[str, Any]], classes: Sequence[str]) -> list[str]:
    """What a split lacks that it should have."""
    return [
        f"{split} holds no {name}" for split, part in parts.items() for name in classes if not part["objects"][name]
    ]


def _told(report: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{part['frames']} {name}" for name, part in report["splits"].items())
    gaps = f"; {report['left_out_in_gaps']} left out in gaps" if report["left_out_in_gaps"] else ""
    return f"{counts} frames{gaps}; no leak" + "".join(f"; warning: {text}" for text in report["warnings"])


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    args = stage_arguments(__doc__, "frames", "annotations", "out").parse_args(argv)
    data, p = DataParams.load("data"), SplitParams.load("split")
    frames = read_frames(args.frames / "frames.parquet")
    labelled = read_labelled(args.annotations / "labelled.parquet")
    annotations = read_annotations(args.annotations / "annotations.parquet")
    assignments = assign(frames, labelled, p)
    known = by_id(frames)
    report = {
        "by": p.by,
        "seed": p.seed,
        "frames": len(frames),
        "usable": len(known),
        "labelled": len(assignments),
        **describe(known, annotations, assignments, data),
    }
    with whole_folder(args.out) as folder:
        write_splits(folder / "splits.parquet", assignments)
        write_json(folder / "split.json", report)
    summary("split", _told(report))


if __name__ == "__main__":
    run(main)
