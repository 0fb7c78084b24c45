"""Images per second of training: ours against torchvision's SSDLite, same pictures, same batch, loader included.

    python benchmarks/training.py [--seconds 20] [--batch 16]

Both train in fp32 in this run, turn by turn, on random pictures of the default input size. Printed: images per second
of each turn, and the ratio of the medians.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.core.params import InputParams, TrainParams
from pipeline.modeling.detector import Detector
from pipeline.modeling.device import device, on_device
from pipeline.modeling.loader import batches
from pipeline.modeling.zoo import build

ROOT = Path(__file__).parents[1]
TURNS = 3


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


def steps(model: Detector, pictures: Noise, p: TrainParams, batch: int) -> Iterator[int]:
    """Train for ever; yields the pictures of each step."""
    where = device()
    optimizer = torch.optim.AdamW(on_device(model, where).train().parameters(), lr=1e-4)
    for epoch in count():
        for images, targets in batches(pictures, p.loop, batch_size=batch, seed=0, epoch=epoch, plain=False):
            losses = model.loss(images.to(where), [t.to(where) for t in targets])
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            optimizer.step()
            yield len(images)


def rate(training: Iterator[int], seconds: float) -> float:
    """Images per second over this many seconds, after one step of warming up."""
    next(training)
    start, images = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        images += next(training)
    return images / elapsed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="of each turn")
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    size, p = InputParams.load("input", ROOT / "params.yaml"), TrainParams.load("train", ROOT / "params.yaml")
    pictures = Noise(256, (size.width, size.height))
    runs = {
        n: steps(build(n, 2, (size.width, size.height), "none"), pictures, p, args.batch) for n in ("nano", "ssdlite")
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, training in runs.items():
            rates[name].append(rate(training, args.seconds))
    print(f"{torch.get_num_threads()} threads, {size.width}x{size.height}, batch {args.batch}, fp32, {device()}")
    for name, values in rates.items():
        print(f"{name:8s} {' '.join(f'{v:6.1f}' for v in values)} img/s")
    nano, peer = (statistics.median(rates[name]) for name in ("nano", "ssdlite"))
    print(f"nano / ssdlite: {nano / peer:.2f}")


if __name__ == "__main__":
    main()
