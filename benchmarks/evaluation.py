"""Seconds and memory of an evaluation of a large benchmark: ours against pycocotools in the same run.

    python benchmarks/evaluation.py [--frames 5000]

Synthetic and seeded: some seven objects a frame, three classes, one object in twenty an ignore region, about 37,000
detections. Both start from the same values in memory; COCO's metrics must take ours a twentieth of the time, and the
whole of it no longer: metrics, the figures of every group of four attributes (20 cameras with 10 clips each, weather,
age, occlusion), heights, classes and slices by 2,000 resamples, their gaps, and the preconditions.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from pipeline.core.group_report import report_on
from pipeline.core.matching import match_overlaps, overlaps
from pipeline.core.params import EvaluateParams
from pipeline.core.types import Detections, Frame, Truth

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))  # where the authority that the tests use lies

CLASSES = ("person", "vehicle", "bicycle")
SIZE = np.array([1920.0, 1080.0])
AT_LEAST = 20.0
MOST_GB = 2.0
CAMERAS, CLIPS = 20, 10


def benchmark_data(frames: int, seed: int = 0) -> tuple[list[Truth], list[Detections]]:
    """Truths and detections of so many frames: most objects found with noise, some missed, some false alarms."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(frames):
        m, extra = int(rng.integers(2, 13)), int(rng.poisson(1.4))
        boxes, labels = _boxes(rng, m), rng.integers(0, len(CLASSES), m)
        seen = np.flatnonzero(rng.random(m) > 0.15)
        sides = np.tile(boxes[seen, 2:] - boxes[seen, :2], 2)
        near = boxes[seen] + rng.normal(0, 0.06, (len(seen), 4)) * sides
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        said = np.where(rng.random(len(seen)) < 0.05, rng.integers(0, len(CLASSES), len(seen)), labels[seen])
        scores = np.concatenate([rng.beta(6, 2, len(seen)), rng.beta(2, 5, extra)])
        best = np.argsort(-scores, kind="stable")
        truths.append(Truth(boxes.astype(np.float32), labels, rng.random(m) < 0.05))
        found.append(
            Detections(
                np.vstack([near, _boxes(rng, extra)])[best].astype(np.float32),
                scores[best].astype(np.float32),
                np.concatenate([said, rng.integers(0, len(CLASSES), extra)])[best],
            )
        )
    return truths, found


def attributed(truths: list[Truth], seed: int = 1) -> tuple[list[Frame], list[Truth]]:
    """The frames that the truths are of, and the truths with age and occlusion of every object."""
    rng = np.random.default_rng(seed)
    frames = []
    for i in range(len(truths)):
        camera, clip = f"camera{i % CAMERAS:02d}", f"clip{i // CAMERAS % CLIPS}"
        light = {"luminance": float(rng.uniform(20, 200)), "contrast": 50.0, "sharpness": 300.0}
        weather = {"weather": str(rng.choice(["clear", "rain", "snow"]))}
        frames.append(Frame(f"{i:016x}", camera, clip, i, i / 2, 1920, 1080, "x", attributes=weather, **light))
    ages, occlusions = ("adult", "child", "senior"), ("none", "part", "full")
    return frames, [
        replace(
            it,
            attributes=tuple(
                {"age": str(rng.choice(ages)), "occluded": str(rng.choice(occlusions))} for _ in it.labels
            ),
        )
        for it in truths
    ]


def whole(frames: list[Frame], truths: list[Truth], found: list[Detections], p: EvaluateParams) -> None:
    """All that evaluate finds out about metrics and groups."""
    from pipeline.io.coco_eval import coco_scores  # noqa: PLC0415 - after the path is set

    near = overlaps(truths, found)
    matched, at50 = match_overlaps(near, p.match_iou), match_overlaps(near, 0.5)
    coco_scores(truths, found, CLASSES)
    report_on(frames, truths, CLASSES, (matched, at50), np.full(len(CLASSES), 0.4), p)


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:  # type: ignore[type-arg]
    sides = np.exp(rng.uniform(np.log(12), np.log(400), (count, 2)))
    corners = rng.random((count, 2)) * (SIZE - sides)
    return np.hstack([corners, corners + sides])


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """The best of so many runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_gb() -> float:
    """Most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def main() -> None:
    """Print the table; end with an error where ours is too slow."""
    from pipeline.io.coco_eval import coco_scores  # noqa: PLC0415 - after the path is set, as the next
    from tests import pycoco  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=5000)
    args = parser.parse_args()
    truths, found = benchmark_data(args.frames)
    print(f"{args.frames} frames, {sum(map(len, truths))} truths, {sum(map(len, found))} detections")
    document, results = pycoco.dataset(truths, CLASSES), pycoco.results(found)
    before = peak_gb()
    ours = seconds(lambda: coco_scores(truths, found, CLASSES), repeats=3)
    ours_gb = peak_gb()
    frames, named = attributed(truths)
    p = EvaluateParams.parse("evaluate", yaml.safe_load((ROOT / "params.yaml").read_text())["evaluate"])
    groups = seconds(lambda: whole(frames, named, found, p))
    groups_gb = peak_gb()
    theirs = seconds(lambda: pycoco.evaluate(document, results))
    theirs_gb = peak_gb()
    print(f"ours        {ours:6.3f} s, {theirs / ours:.1f} x as fast, {ours_gb - before:.2f} GB on top of {before:.2f}")
    print(f"with groups {groups:6.3f} s, {theirs / groups:.1f} x as fast, {groups_gb:.2f} GB in all")
    print(f"pycocotools {theirs:6.3f} s, {theirs_gb - groups_gb:.2f} GB on top of that")
    if theirs < AT_LEAST * ours:
        raise SystemExit(f"plain metrics are to be at least {AT_LEAST:g} times as fast as pycocotools")
    if theirs < groups or groups_gb > MOST_GB:
        raise SystemExit(f"the whole evaluation is to take no longer than pycocotools, and at most {MOST_GB:g} GB")


if __name__ == "__main__":
    main()
