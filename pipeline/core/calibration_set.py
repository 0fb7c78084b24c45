"""Which frames the ranges of an integer model are measured on: training frames of every camera, light and object size.

Rare conditions get the same share as common ones: a range that no dark frame has stretched clips every dark frame.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import chain, zip_longest

import numpy as np

from pipeline.core.errors import DataError
from pipeline.core.types import Annotation, Frame

BANDS = 3  # of luminance and of object size, each with as many frames
Stratum = tuple[int, int]  # band of luminance, band of object size; -1 without an object


def calibration_set(
    frames: Sequence[Frame],
    annotations: Iterable[Annotation],
    count: int,
    benchmark: Collection[str],
) -> list[str]:
    """Ids of at most `count` frames, the same share of every camera, luminance and object size.

    Args:
        frames: of the training split.
        annotations: of any frames; those of `frames` count.
        count: how many are wanted.
        benchmark: ids of the frames that may not be among them.

    Raises:
        DataError: there is no frame, or one that is chosen, or its like, belongs to the benchmark.
    """
    if not frames:
        raise DataError("the training split holds no frame to calibrate on; raise split.fractions.train")
    strata = stratify(frames, annotations)
    chosen = spread(frames, count, lambda frame: strata[frame.frame_id])
    known = {frame.frame_id: frame for frame in frames}
    shared = sorted({i for i in chosen if {i, known[i].duplicate_of} & set(benchmark)})
    if shared:
        raise DataError(
            f"calibration set: {len(shared)} of its frames are in the benchmark split too, {shared[0]} first; "
            "what is calibrated there would be tested on itself; run: dvc repro -f split"
        )
    return chosen


def fingerprint(frame_ids: Iterable[str]) -> str:
    """SHA-256, in hex, of a set of frames in any order; ids begin the hash of a frame's bytes."""
    return sha256("\n".join(sorted(frame_ids)).encode()).hexdigest()


def stratify(frames: Sequence[Frame], annotations: Iterable[Annotation]) -> dict[str, Stratum]:
    """Bands of luminance and of object size by frame id. The size is the median share of the picture's height."""
    heights = {frame.frame_id: frame.height for frame in frames}
    sizes: Mapping[str, list[float]] = defaultdict(list)
    for annotation in annotations:
        if annotation.frame_id in heights and not annotation.ignore:
            sizes[annotation.frame_id].append(annotation.height / heights[annotation.frame_id])
    light = _bands({frame.frame_id: frame.luminance for frame in frames})
    size = _bands({frame_id: float(np.median(found)) for frame_id, found in sizes.items() if found})
    return {frame_id: (light[frame_id], size.get(frame_id, -1)) for frame_id in heights}


def _bands(values: Mapping[str, float]) -> dict[str, int]:
    """The third that each value lies in; equal values share one."""
    if not values:
        return {}
    edges = np.quantile(list(values.values()), np.arange(1, BANDS) / BANDS)
    return {key: int(np.searchsorted(edges, value, side="left")) for key, value in values.items()}


def spread(frames: Iterable[Frame], count: int, stratum: Callable[[Frame], Stratum] = lambda _: (0, 0)) -> list[str]:
    """Ids of at most `count` frames: cameras take turns, in a camera its strata do, in a stratum frames evenly in time.

    >>> clip = [Frame(f"{i:016x}", "gate", "a", i, None, 64, 64, "a.mp4") for i in range(8)]
    >>> [int(frame_id, 16) for frame_id in spread(clip, 2)]
    [2, 6]
    """
    held: dict[str, dict[Stratum, list[Frame]]] = defaultdict(lambda: defaultdict(list))
    for frame in sorted(frames, key=lambda f: (f.camera, f.clip, f.index)):
        held[frame.camera][stratum(frame)].append(frame)
    cameras = [
        _turns({(camera, s): len(found) for s, found in sorted(strata.items())}) for camera, strata in held.items()
    ]
    rounds = [key for key in chain.from_iterable(zip_longest(*cameras)) if key]
    share = Counter(rounds[:count])
    return [
        found[(2 * i + 1) * len(found) // (2 * share[camera, s])].frame_id
        for camera, strata in held.items()
        for s, found in sorted(strata.items())
        for i in range(share[camera, s])
    ]


def _turns(sizes: Mapping[tuple[str, Stratum], int]) -> list[tuple[str, Stratum]]:
    """Every key as often as its size, in turns: a, b, c, a, b, a."""
    return [key for i in range(max(sizes.values())) for key, size in sizes.items() if i < size]
