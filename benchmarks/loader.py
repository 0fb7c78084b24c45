"""What the loader costs on sets of 1,000, 10,000 and 50,000 pictures: time an image and memory.

    python benchmarks/loader.py [--counts 1000 10000 50000] [--seconds 15] [--turns 2] [--batch 16] [--cold]

The sets are written as `augment` writes them, 320x192 pictures of noise with one to six boxes each, in a temporary
folder: 9.2 GB for 50,000. Each is measured in a process of its own, turn by turn: seconds to open it, seconds to its
first batch (an epoch's order included), and then batches as training draws them, without a network. The cost of an
image is to be the same for every size (20 %), and memory under 2 GB. Where others use the machine, the time of cores
that an image took says more than the clock.

Memory is the process's peak: `own` is its anonymous memory, which nobody else can have; `all` adds the pages of files
that it has mapped, which the system takes back when it needs them. Pictures that were read through the page cache are
in neither. With --cold the page cache is emptied of the set before each turn, so pictures come from the disk.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np

from pipeline.core.params import TrainParams
from pipeline.io.training import Example, TrainingSet, TrainingWriter
from pipeline.modeling.loader import batches

ROOT = Path(__file__).parents[1]
SIZE = (320, 192)
SHARD_FRAMES = 4096
DISTINCT = 64  # pictures that are repeated


def write(folder: Path, frames: int) -> None:
    """A set of this many pictures."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (DISTINCT, SIZE[1], SIZE[0], 3), np.uint8)
    with TrainingWriter(folder, frames, SIZE, SHARD_FRAMES) as writer:
        for i in range(frames):
            boxes = rng.integers(1, 7)
            corners = rng.uniform((0, 0), (SIZE[0] - 80, SIZE[1] - 80), (boxes, 2))
            box = np.concatenate([corners, corners + rng.uniform(8, 80, (boxes, 2))], 1).astype(np.float32)
            labels = (rng.random(boxes) < 0.1).astype(np.int64)
            writer.write(Example(f"{i:08}", 0, pictures[i % DISTINCT], box, labels, np.zeros(boxes, np.bool_)))


def forget(folder: Path) -> None:
    """Take the set's files out of the page cache."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def memory() -> dict[str, float]:
    """This process's memory now, MB: its own, and with the pages of mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
    return {"own": sizes["RssAnon"], "all": sum(sizes.values())}


def from_disk() -> float:
    """What this process has read so far that was not in the page cache, MB."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes")) / 1e6


def drawn(pictures: TrainingSet, p: TrainParams) -> Iterator[int]:
    """Draw for ever, as training does; yields the pictures of each batch."""
    for epoch in count():
        for images, _ in batches(pictures, p.loop, batch_size=p.batch_size, seed=0, epoch=epoch, plain=False):
            yield len(images)


def measure(folder: Path, seconds: float, batch: int) -> dict[str, float]:
    """Seconds to open and to the first batch, images a second over this many seconds, what they took, peak memory."""
    p = TrainParams.load("train", ROOT / "params.yaml").model_copy(update={"batch_size": batch})
    before = time.perf_counter()
    pictures = TrainingSet.open(folder)
    opened = time.perf_counter()
    drawing = drawn(pictures, p)
    next(drawing)
    start, busy, images, peak, fetched = time.perf_counter(), time.process_time(), 0, memory(), from_disk()
    while (elapsed := time.perf_counter() - start) < seconds:
        images += next(drawing)
        peak = {name: max(value, peak[name]) for name, value in memory().items()}
    spent = {"cpu": (time.process_time() - busy) / images, "disk": from_disk() - fetched}
    return {"open": opened - before, "first": start - opened, "rate": images / elapsed, **spent, **peak}


def measured(folder: Path, args: argparse.Namespace) -> dict[str, float]:
    """`measure` in a process of its own."""
    if args.cold:
        forget(folder)
    command = [sys.executable, __file__, "--of", str(folder), f"--seconds={args.seconds}", f"--batch={args.batch}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    found: dict[str, float] = json.loads(subprocess.run(command, env=environment, check=True, stdout=-1).stdout)
    return found


def main() -> None:
    """Print a line a set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 50_000], help="pictures of each set")
    parser.add_argument("--seconds", type=float, default=15, help="of each turn")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--cold", action="store_true", help="read from the disk, not from the page cache")
    parser.add_argument("--of", type=Path, help=argparse.SUPPRESS)  # the process that measures one set
    args = parser.parse_args()
    if args.of:
        print(json.dumps(measure(args.of, args.seconds, args.batch)))
        return
    with tempfile.TemporaryDirectory() as root:
        folders = {n: Path(root) / str(n) for n in args.counts}
        for n, folder in folders.items():
            folder.mkdir()
            write(folder, n)
        turns = [{n: measured(folder, args) for n, folder in folders.items()} for _ in range(args.turns)]
    told = {n: {key: statistics.median(t[n][key] for t in turns) for key in turns[0][n]} for n in args.counts}
    first = told[args.counts[0]]["rate"]
    for n, it in told.items():
        print(
            f"{n:7,} pictures: {it['rate']:6.0f} images a second, {1e6 / it['rate']:5.0f} us each "
            f"({first / it['rate']:.2f} of the first set's), {1e6 * it['cpu']:.0f} us of a core, "
            f"{it['disk']:.0f} MB from the disk; opened in {it['open']:.2f} s, first batch after "
            f"{it['first']:.2f} s; memory {it['own']:.0f} MB own, {it['all']:.0f} MB with mapped files"
        )


if __name__ == "__main__":
    main()
