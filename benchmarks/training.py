"""Images per second of training: ours against torchvision's SSDLite, same pictures, same batch, loader included.

    python benchmarks/training.py [--size 320] [--batch 16] [--seconds 20] [--turns 3] [--ultralytics]

Each trains in the project's own loop, in fp32 and, where the processor multiplies it, in bf16, turn by turn, on random
pictures. Printed: images per second (median of the turns), the loader's own without a network, and the ratios that are
asked for. With --ultralytics its yolo11n takes its turns too, by its own recipe (fp32), in an environment of its own
that the first call makes.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from peers import yolo

from pipeline.core.params import TrainParams
from pipeline.modeling.device import resolve_precision
from pipeline.modeling.loader import batches
from pipeline.modeling.loop import Trainer
from pipeline.modeling.zoo import build

ROOT = Path(__file__).parents[1]


class Noise:
    """Pictures of noise with one box each."""

    def __init__(self, n: int, size: tuple[int, int]) -> None:
        rng = np.random.default_rng(0)
        self._pictures = rng.integers(0, 256, (n, size[1], size[0], 3), np.uint8)
        self.boxes = [np.array([[20, 30, 90, 120]], np.float32)] * n
        self.labels = [np.array([i % 2]) for i in range(n)]
        self.ignore = [np.array([False])] * n

    def __len__(self) -> int:
        return len(self._pictures)

    def picture(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8."""
        return np.asarray(self._pictures[index], np.uint8)


def steps(name: str, size: tuple[int, int], precision: str, pictures: Noise, p: TrainParams) -> Iterator[int]:
    """Train for ever, as `train` does; yields the pictures of each step."""
    trainer = Trainer(build(name, 2, size, "none"), pictures, p.model_copy(update={"precision": precision}))
    for epoch in count():
        for _ in trainer.each_step(epoch):
            yield p.batch_size


def loads(pictures: Noise, p: TrainParams) -> Iterator[int]:
    """Load for ever; yields the pictures of each batch."""
    for epoch in count():
        for images, _ in batches(pictures, p.loop, batch_size=p.batch_size, seed=0, epoch=epoch, plain=False):
            yield len(images)


def rate(training: Iterator[int], seconds: float) -> float:
    """Images per second over this many seconds, after two steps of warming up."""
    next(training), next(training)
    start, images = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        images += next(training)
    return images / elapsed


def peer_rate(folder: Path, args: argparse.Namespace) -> float:
    """Images per second of Ultralytics' training on the set in `folder`."""
    found = yolo.ask("speed", folder, side=args.size, batch=args.batch, seconds=args.seconds)
    return float(found["rate"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=320, help="sides of the input, pixels")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20, help="of each turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--ultralytics", action="store_true", help="with its yolo11n (AGPL, in .ultralytics/)")
    args = parser.parse_args()
    p = TrainParams.load("train", ROOT / "params.yaml").model_copy(update={"batch_size": args.batch})
    size = args.size, args.size
    pictures = Noise(256, size)
    precisions = sorted({"fp32", resolve_precision("auto")})
    runs = {f"{n} {it}": steps(n, size, it, pictures, p) for n in ("nano", "ssdlite") for it in precisions}
    runs["loader alone"] = loads(pictures, p)
    measures = {name: partial(rate, training, args.seconds) for name, training in runs.items()}
    with tempfile.TemporaryDirectory() as folder:
        if args.ultralytics:
            yolo.write_set(Path(folder), pictures)
            measures["yolo11n fp32"] = partial(peer_rate, Path(folder), args)
        found: dict[str, list[float]] = {name: [] for name in measures}
        for turn in range(args.turns):
            for name, measure in measures.items():
                found[name].append(measure())
                print(f"turn {turn + 1}: {name} {found[name][-1]:.1f} images a second", flush=True)
    told = {name: statistics.median(values) for name, values in found.items()}
    best = max(value for name, value in told.items() if name.startswith("nano"))
    for name, value in told.items():
        print(f"{name:14} {value:8.1f} images a second; nano's best is {best / value:.2f} times that")


if __name__ == "__main__":
    main()
