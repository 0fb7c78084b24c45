"""The champion: what MLflow keeps of it, and whether a challenger is worse than it on the same frames.

A run keeps its detections on the benchmark and the ids of the frames that they are of. A later challenger is compared
on the frames that both were measured on, with the labels of today for both: the benchmark may have grown since, and
labels may have been mended.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from pipeline.core.bootstrap import levels
from pipeline.core.paired import Difference, difference
from pipeline.core.params import Bounds, EvaluateParams
from pipeline.core.types import Detections, Sample, Split
from pipeline.core.verdict import Line, Measured, judge, meets
from pipeline.io.files import read_json
from pipeline.io.frames import labelled
from pipeline.io.tables import read_detections
from pipeline.services import tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

BENCHMARK, DETECTIONS = "benchmark.json", "evaluate/detections.parquet"  # artifacts of a run
LIMIT = "AP against the champion"


class Champion(BaseModel):
    """The champion that a challenger met."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: str  # SHA-256
    AP: float | None  # on the frames of both; None where it is not comparable
    comparable: bool  # some frames of the benchmark are those that it was measured on


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What was kept of the champion's evaluation."""

    classes: tuple[str, ...]
    found: dict[str, Detections]  # by frame id, of every frame of its benchmark


def read_benchmark(data: Path, evaluation: Path, classes: tuple[str, ...]) -> Sample:
    """The benchmark, and what the detector found there. Raises DataError where a file is missing or broken."""
    frames, truths = labelled(data / "frames", data / "annotations", data / "splits", Split.BENCHMARK, classes)
    ids = [frame.frame_id for frame in frames]
    found = read_detections(evaluation / "detections.parquet", ids)
    return Sample(frames, truths, tuple(found[frame_id] for frame_id in ids), classes)


def keep(client: "MlflowClient", run_id: str, sample: Sample) -> None:
    """Keep which frames were measured; the detections come with the other files of evaluate."""
    frames = [frame.frame_id for frame in sample.frames]
    client.log_dict(run_id, {"classes": list(sample.classes), "frames": frames}, BENCHMARK)


def kept(client: "MlflowClient", version: "ModelVersion") -> Kept | None:
    """What a version's run kept; None where it kept nothing that can be compared."""
    with tempfile.TemporaryDirectory() as folder:
        files = tracking.fetch(client, version.run_id, (BENCHMARK, DETECTIONS), Path(folder))
        if not files:
            return None
        benchmark: dict[str, Any] = read_json(files[0])
        found = read_detections(files[1], benchmark["frames"])
    return Kept(tuple(benchmark["classes"]), found)


def meet(
    client: "MlflowClient", version: "ModelVersion", sample: Sample, p: EvaluateParams, max_regression: float
) -> tuple[Champion, Line]:
    """The champion, and the line that says whether the challenger is worse.

    Args:
        client: of the registry.
        version: the champion's.
        sample: the benchmark, and what the challenger found there.
        p: how the benchmark is resampled.
        max_regression: AP that may be lost.
    """
    weights = version.tags.get(tracking.WEIGHTS, "")
    theirs = kept(client, version)
    asked = Bounds(min=-max_regression)
    if reason := incomparable(sample, theirs):
        return Champion(weights=weights, AP=None, comparable=False), judge(
            LIMIT, asked, Measured(None, "", thin=reason)
        )
    assert theirs is not None  # noqa: S101 - `incomparable` says so
    gap, frames = compare(sample, theirs, p)
    ap = None if gap.ours is None or gap.figure is None else gap.ours - gap.figure
    return Champion(weights=weights, AP=ap, comparable=True), judge(LIMIT, asked, measured(gap, frames, sample, asked))


def incomparable(sample: Sample, theirs: Kept | None) -> str:
    """Why nothing says which is better; "" where something does."""
    if theirs is None:
        return "the champion's detections are not kept in MLflow"
    if theirs.classes != sample.classes:
        return f"the champion was measured on other classes: {', '.join(theirs.classes)}"
    if not any(frame.frame_id in theirs.found for frame in sample.frames):
        return "the champion was measured on another benchmark: no frame is in both"
    return ""


def compare(sample: Sample, theirs: Kept, p: EvaluateParams) -> tuple[Difference, int]:
    """The difference in AP on the frames that both were measured on, and how many these are."""
    shared = [i for i, frame in enumerate(sample.frames) if frame.frame_id in theirs.found]
    frames = [sample.frames[i] for i in shared]
    drawn = levels(frames, p.block_s, p.resamples, p.seed)
    ours: Sequence[Detections] = [sample.found[i] for i in shared]
    other = [theirs.found[frame.frame_id] for frame in frames]
    return difference([sample.truths[i] for i in shared], ours, other, drawn), len(frames)


def measured(gap: Difference, frames: int, sample: Sample, asked: Bounds) -> Measured:
    """The difference as the gate's rule takes it: without an interval a figure may fail the limit, not meet it."""
    thin = ""
    if gap.figure is None:
        thin = "the frames of both hold no object"
    elif gap.interval is None and meets(gap.figure, asked):
        thin = f"{gap.figure:+.4f} meets it, but rests on {gap.clusters} clusters ({gap.unit})"
    of = f"{gap.objects} objects in {gap.clusters} clusters ({gap.unit})"
    evidence = f"{of}; {frames} of {len(sample.frames)} benchmark frames are the champion's too"
    return Measured(gap.figure, "evaluate/detections.parquet", gap.interval, evidence, thin)
