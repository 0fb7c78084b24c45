"""Images per second of the robustness stage's loop against plain prediction: same frames, same detector, same run.

    python benchmarks/robustness.py [--frames 8] [--severities 1 2 3 4 5]

Plain prediction decodes, letterboxes and detects. The stage's loop does so too, and corrupts each frame in every way
that params.yaml names. Frames are 768 x 432, the detector is untrained. Printed: images per second of both, in turns,
and the ratio of the medians.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from pipeline.core.params import RobustnessParams
from pipeline.core.types import Frame, Truth
from pipeline.io.frames import pictures
from pipeline.io.images import encode_jpeg
from pipeline.io.shards import ShardWriter
from pipeline.io.tables import write_frames
from pipeline.modeling.detector import Detector
from pipeline.modeling.device import device, on_device, shared_cores
from pipeline.modeling.predict import predict_with
from pipeline.modeling.zoo import build
from pipeline.robustness import Sample, Setting, Variant, detect, setting, shown, variants

ROOT = Path(__file__).parents[1]
TURNS = 3


def write_sample(folder: Path, count: int) -> Sample:
    """Frames of smooth noise."""
    rng = np.random.default_rng(0)
    frames = []
    with ShardWriter(folder, 1 << 28) as shards:
        for i in range(count):
            image = cv2.resize(rng.integers(0, 256, (54, 96, 3), np.uint8), (768, 432))
            place = shards.write(f"f{i}.jpg", encode_jpeg(np.asarray(image, np.uint8), 95))
            frames.append(Frame(f"f{i}", "a", "a", i, i / 2, 768, 432, "x", place.shard, place.offset, place.length))
    write_frames(folder / "frames.parquet", frames)
    return Sample(tuple(frames), tuple(Truth.of([], ()) for _ in frames))


def rate(work: Callable[[], int]) -> float:
    """Images per second."""
    start = time.perf_counter()
    return work() / (time.perf_counter() - start)


def plain(model: Detector, folder: Path, sample: Sample, s: Setting, images: int) -> int:
    """Detect in so many frames, the sample's again and again; how many there were."""
    ids = [sample.frames[i % len(sample.frames)].frame_id for i in range(images)]
    found = predict_with(model, pictures(folder, ids), target=s.size, rule=s.rule, batch_size=s.batch_size)
    return sum(1 for _ in found)


def corrupted(model: Detector, folder: Path, sample: Sample, s: Setting, ways: list[Variant]) -> int:
    """Detect in every variant of every frame; how many there were."""
    with shared_cores():
        results = detect(model, shown(folder, sample, ways, s), s)
    return sum(len(found) for _, found in results.values())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--severities", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    args = parser.parse_args()
    p = RobustnessParams.load("robustness", ROOT / "params.yaml").model_copy(update={"severities": args.severities})
    s, ways = setting(ROOT / "params.yaml"), variants(p)
    s = replace(s, rule=s.rule.model_copy(update={"score_floor": 0.5}))  # a trained detector leaves little to NMS
    model = on_device(build("nano", 2, s.size, "none").eval(), device())
    images = args.frames * len(ways)
    rates: dict[str, list[float]] = {"plain prediction": [], "robustness": []}
    with tempfile.TemporaryDirectory() as name:
        sample = write_sample(Path(name), args.frames)
        plain(model, Path(name), sample, s, s.batch_size)  # warms up
        for _ in range(TURNS):
            rates["plain prediction"].append(rate(lambda: plain(model, Path(name), sample, s, images)))
            rates["robustness"].append(rate(lambda: corrupted(model, Path(name), sample, s, ways)))
    print(f"{args.frames} frames in {len(ways)} variants, batch {s.batch_size}, {s.size[0]}x{s.size[1]}, {device()}")
    for name, values in rates.items():
        print(f"{name:16s} {' '.join(f'{v:6.1f}' for v in values)} img/s")
    base, loop = (statistics.median(values) for values in rates.values())
    print(f"robustness / plain prediction: {loop / base:.2f}")


if __name__ == "__main__":
    main()
