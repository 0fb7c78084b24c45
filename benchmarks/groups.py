"""What the intervals and verdicts on groups hold, in simulated benchmarks whose truth is known, and what they cost.

    python benchmarks/groups.py [--repeats 1000]

Objects come in clusters (camera x clip) of unequal size; a cluster's recall is drawn from a beta distribution, so that
its objects resemble each other by the intra-cluster correlation given. `make test` runs the same with fewer repeats.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.bootstrap import CLIPS, CONFIDENCE, resampling
from pipeline.core.comparisons import SHOWN, Comparison, compare
from pipeline.core.groups import Evidence, Group, assess, by_object, everything
from pipeline.core.matching import Matched

THRESHOLDS = np.array([0.5])
RESAMPLES = 2000
LIMIT = 0.1
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scene:
    """How a benchmark comes about."""

    clusters: int
    objects: int  # a cluster, in the mean
    recall: float
    correlation: float


COVERED = (Scene(12, 20, 0.8, 0.05), Scene(20, 20, 0.85, 0.1), Scene(40, 20, 0.9, 0.1), Scene(80, 10, 0.9, 0.05))
HARD = (Scene(10, 20, 0.95, 0.2), Scene(20, 20, 0.95, 0.2), Scene(80, 20, 0.95, 0.2))  # few clusters hold the misses
NO_GAP = Scene(40, 60, 0.85, 0.05)


def draw(rng: np.random.Generator, scene: Scene) -> tuple[Indices, Floats]:
    """The cluster of each object (G,), and by how much its cluster's recall lies above the mean (G,)."""
    sizes = np.maximum(1, rng.negative_binomial(2, 2 / (2 + scene.objects), scene.clusters))
    strength = (1 - scene.correlation) / scene.correlation
    recall = rng.beta(scene.recall * strength, (1 - scene.recall) * strength, scene.clusters)
    cluster = np.repeat(np.arange(scene.clusters), sizes)
    return cluster, recall[cluster] - scene.recall


def evidence(cluster: Indices, found: Mask, seed: int, resamples: int = RESAMPLES) -> Evidence:
    """A benchmark of one frame a cluster, of one class, without false alarms."""
    hit = np.flatnonzero(found)
    n = len(hit)
    matched = Matched(
        frame=cluster[hit],
        label=np.zeros(n, np.int64),
        score=np.ones(n, np.float32),
        height=np.ones(n),
        iou=np.ones(n),
        object=hit,
        ignored=np.zeros(n, np.bool_),
        object_frame=cluster,
        object_label=np.zeros(len(found), np.int64),
        object_height=np.ones(len(found)),
        object_score=np.where(found, 1, -1).astype(np.float32),
    )
    drawn = resampling(CLIPS, range(int(cluster.max()) + 1), resamples, seed)
    return Evidence(matched, matched, THRESHOLDS, (drawn,), 30)


def coverage(scene: Scene, repeats: int, seed: int = 0, *, naive: bool = False) -> float:
    """Share of benchmarks whose interval of recall holds the truth. Naive: every box is a cluster of its own."""
    rng = np.random.default_rng(seed)
    covered = 0
    for i in range(repeats):
        cluster, shift = draw(rng, scene)
        found = rng.random(len(cluster)) < scene.recall + shift
        rests = evidence(np.arange(len(cluster)) if naive else cluster, found, i, 500 if naive else RESAMPLES)
        told = assess(everything(rests.matched, scene.clusters), rests)
        covered += float(told["recall_low"]) <= scene.recall <= float(told["recall_high"])
    return covered / repeats


def attribute(name: str, codes: Indices) -> list[Group]:
    """Groups of an attribute by their number."""
    return list(by_object(name, [str(code) for code in codes]))


def no_gap(repeats: int, seed: int = 0, scene: Scene = NO_GAP) -> float:
    """Share of benchmarks in which any group is flagged: four attributes of two to five groups, none with a gap.

    One attribute is of whole clusters, as weather is; the others are of objects.
    """
    rng = np.random.default_rng(seed)
    flagged = 0
    for i in range(repeats):
        cluster, shift = draw(rng, scene)
        found = rng.random(len(cluster)) < scene.recall + shift
        groups = attribute("weather", rng.integers(0, 2, scene.clusters)[cluster])
        for k in (3, 4, 5):
            groups += attribute(f"of {k}", rng.integers(0, k, len(cluster)))
        flagged += any(it.verdict == SHOWN for it in compare(groups, evidence(cluster, found, i), ["of 3"], LIMIT))
    return flagged / repeats


def planted(repeats: int, seed: int = 0) -> float:
    """Share of benchmarks in which a group's gap of 10 points is flagged: 400 objects a group, three attributes."""
    rng = np.random.default_rng(seed)
    flagged = 0
    for i in range(repeats):
        cluster = np.sort(rng.integers(0, 40, 800))
        group = rng.permutation(np.repeat([0, 1], 400))
        shift = (rng.beta(19 * 0.9, 19 * 0.1, 40) - 0.9)[cluster]  # intra-cluster correlation 0.05
        found = rng.random(800) < np.where(group == 1, 0.83, 0.93) + shift
        groups = attribute("age", group)
        groups += attribute("of 2", rng.integers(0, 2, 800)) + attribute("of 3", rng.integers(0, 3, 800))
        told = compare(groups, evidence(cluster, found, i), [], LIMIT)
        flagged += next(it for it in told if it.attribute == "age").verdict == SHOWN
    return flagged / repeats


SIMPSON = {
    ("near", "a"): (0.98, 1200),
    ("near", "b"): (0.99, 300),
    ("far", "a"): (0.55, 300),
    ("far", "b"): (0.72, 1200),
}


def simpson(repeats: int, seed: int = 0) -> float:
    """Share of benchmarks in which a reversal is told: group b is found more often at every distance, yet is far away.

    Raw recall of a is 0.894, of b 0.774.
    """
    rng = np.random.default_rng(seed)
    right = 0
    for i in range(repeats):
        rows = [(far, who, r) for (far, who), (r, n) in SIMPSON.items() for _ in range(n)]
        found = rng.random(len(rows)) < np.array([r for *_, r in rows])
        groups = [*by_object("distance", [far for far, *_ in rows]), *by_object("who", [who for _, who, _ in rows])]
        cluster = rng.integers(0, 60, len(rows))
        told = compare(groups, evidence(cluster, found, i), ["distance"], 0.05)
        right += _reversed(next(it for it in told if it.attribute == "who"))
    return right / repeats


def _reversed(it: Comparison) -> bool:
    gaps = it.raw is not None and it.stratified is not None and it.raw.low > 0 > it.stratified.high
    return gaps and it.value == "b" and it.verdict == SHOWN and it.reading.startswith("reversed")


def rows(repeats: int) -> Iterable[tuple[str, str, float]]:
    """Name, what is asked, and what was measured."""
    for scene in COVERED:
        yield f"coverage, {scene}", "0.93 to 0.97", coverage(scene, repeats)
    for scene in HARD:
        yield f"coverage, {scene}", "hard: no promise", coverage(scene, repeats)
    yield f"coverage of boxes as clusters, {COVERED[2]}", "fails", coverage(COVERED[2], repeats, naive=True)
    yield "no gap: benchmarks with a flag", "at most 0.05", no_gap(repeats)
    yield "gap of 10 points on 400 objects a group flagged", "at least 0.9", planted(repeats)
    yield "Simpson's reversal told", "at least 0.9", simpson(repeats)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000)
    repeats = parser.parse_args().repeats
    print(f"{repeats} simulated benchmarks each, {RESAMPLES} resamples, intervals at {CONFIDENCE:.0%}")
    for name, asked, measured in rows(repeats):
        print(f"{measured:6.3f}  ({asked})  {name}", flush=True)


if __name__ == "__main__":
    main()
