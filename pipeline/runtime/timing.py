"""How fast a model is here, from the bytes of a picture to its boxes, step by step; and what a process of it needs.

Times are those of this machine in this hour: they belong into no output that must be the same everywhere.

    python -m pipeline.runtime.timing FOLDER ARTIFACT < picture

loads the artifact in a process of its own, finds the picture's boxes and prints what that took as JSON.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import SightlineError
from pipeline.runtime.golden import decode
from pipeline.runtime.postprocess import select
from pipeline.runtime.preprocess import letterbox
from pipeline.runtime.session import Session, open_session

STEPS = ("decode", "preprocess", "inference", "postprocess")
PERCENTILES = (50, 95, 99)
WARM_UP = 5  # pictures that are not counted
LIMIT_S = 300  # for a process that loads a model and finds boxes once


def steps_of(session: Session, data: bytes) -> NDArray[np.float64]:
    """Seconds of each of `STEPS` (4,) for one picture file, one picture at a time as a camera gives them."""
    contract = session.contract
    marks = [time.perf_counter()]
    image = decode(data)
    marks.append(time.perf_counter())
    placed, placement = letterbox(image, (contract.input.width, contract.input.height))
    batch = placed.transpose(2, 0, 1)[None]
    marks.append(time.perf_counter())
    boxes, scores = session.candidates(batch)
    marks.append(time.perf_counter())
    select(boxes[0], scores[0], contract.output, placement, (image.shape[1], image.shape[0]))
    marks.append(time.perf_counter())
    return np.diff(marks)


def latency(session: Session, encoded: Sequence[bytes], pictures: int) -> dict[str, dict[str, float]]:
    """Percentiles in milliseconds of each step and of `total`, over so many of the picture files, taken in turn."""
    for data in islice(cycle(encoded), WARM_UP):
        steps_of(session, data)
    seconds = np.stack([steps_of(session, data) for data in islice(cycle(encoded), pictures)])
    named = dict(zip(STEPS, seconds.T, strict=True)) | {"total": seconds.sum(axis=1)}
    return {name: percentiles(values) for name, values in named.items()}


def percentiles(seconds: NDArray[np.float64]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds.

    >>> percentiles(np.array([0.001, 0.002, 0.003]))["p50"]
    2.0
    """
    values = np.percentile(seconds, PERCENTILES) * 1000
    return {f"p{rank}": round(float(value), 3) for rank, value in zip(PERCENTILES, values, strict=True)}


def throughput(session: Session, encoded: Sequence[bytes], pictures: int, streams: int) -> float:
    """Pictures per second from bytes to boxes, of so many callers at the same time."""
    shares = [list(islice(cycle(encoded), start, start + pictures // streams)) for start in range(streams)]
    with ThreadPoolExecutor(streams) as pool:
        list(pool.map(lambda share: steps_of(session, share[0]), shares))
        start = time.perf_counter()
        list(pool.map(lambda share: [steps_of(session, data) for data in share], shares))
        seconds = time.perf_counter() - start
    return round(sum(map(len, shares)) / seconds, 1)


def fresh_start(folder: Path, artifact: str, picture: bytes) -> dict[str, float | None]:
    """What a process of its own takes until its first boxes: `start_s` with Python's start, `load_s`, `peak_mb`.

    Raises:
        SightlineError: the process failed.
    """
    command = [sys.executable, "-m", "pipeline.runtime.timing", str(folder.resolve()), artifact]
    here = Path(__file__).parents[2]  # where this very package is found, wherever it is called from
    start = time.perf_counter()
    done = subprocess.run(command, input=picture, capture_output=True, timeout=LIMIT_S, check=False, cwd=here)
    seconds = time.perf_counter() - start
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise SightlineError(f"{folder} ({artifact}) in a process of its own: {told}")
    return {"start_s": round(seconds, 3), **json.loads(done.stdout)}


def peak_mb(status: str) -> float | None:
    r"""The most memory that a process held, megabytes, of /proc/self/status; None where that does not tell.

    `getrusage` would not do: a child begins with what its parent held.

    >>> peak_mb("VmPeak: 9 kB\nVmHWM:   204800 kB\n")
    200.0
    """
    fields = (line.split() for line in status.splitlines() if line.startswith("VmHWM:"))
    return next((round(int(words[1]) / 1024, 1) for words in fields), None)


def main(argv: Sequence[str]) -> dict[str, Any]:
    """Load, find boxes once, and tell what that took."""
    folder, artifact = argv
    picture = decode(sys.stdin.buffer.read())
    start = time.perf_counter()
    session = open_session(Path(folder), artifact)
    loaded = time.perf_counter()
    session.detect(picture)
    first = time.perf_counter()
    status = Path("/proc/self/status")
    held = peak_mb(status.read_text(encoding="utf-8")) if status.exists() else None
    return {"load_s": round(loaded - start, 3), "first_s": round(first - loaded, 3), "peak_mb": held}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
