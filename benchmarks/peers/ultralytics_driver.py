"""Trains Ultralytics' yolo11n from scratch, in an environment of its own: `yolo.py` makes it and calls this.

    python ultralytics_driver.py speed SET --side 320 --batch 16 --seconds 20
    python ultralytics_driver.py train SET --side 320 --batch 16 --minutes 10

SET is a YOLO data set with set.yaml; for `train` it has a folder `test` of pictures. Ultralytics' own recipe is used as
it comes, but on all cores, of which it would leave one idle; nothing is downloaded and nothing reported. The last line
on stdout is a JSON object: of `speed` the images a second of training steps, loader included; of `train` the epochs,
the minutes, and the detections in each test picture.
"""

import argparse
import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from ultralytics import YOLO, settings

WARM_UP = 3  # steps that are not counted
SCORE_FLOOR, NMS_IOU, MAX_DETECTIONS = 0.01, 0.6, 100  # as ours are filtered


class Enough(Exception):  # noqa: N818 - no error: Ultralytics has no other way to end within an epoch
    """The time is over."""


class Clock:
    """Notes when each training step has ended; ends the training after some seconds."""

    def __init__(self, seconds: float) -> None:
        self.ends: list[float] = []
        self._seconds = seconds

    def __call__(self, _: Any) -> None:
        """Called after a step."""
        self.ends.append(time.perf_counter())
        if len(self.ends) > WARM_UP and self.ends[-1] - self.ends[WARM_UP - 1] >= self._seconds:
            raise Enough

    def steps_per_second(self) -> float:
        """Without those of warming up."""
        return (len(self.ends) - WARM_UP) / (self.ends[-1] - self.ends[WARM_UP - 1])


def on_all_cores() -> YOLO:
    """Its network, untrained. At the start of a training Ultralytics sets torch's threads to the cores less one."""
    model = YOLO("yolo11n.yaml")
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(len(os.sched_getaffinity(0))))
    return model


def options(args: argparse.Namespace) -> dict[str, Any]:
    """What both kinds of training share: no plots, no validation, nothing written outside the set's folder."""
    where = {"data": str(args.set / "set.yaml"), "project": str(args.set / "runs"), "name": "run"}
    return {**where, "imgsz": args.side, "batch": args.batch, "val": False, "plots": False, "device": "cpu"}


def speed(args: argparse.Namespace) -> dict[str, float]:
    """Images a second."""
    clock = Clock(args.seconds)
    model = on_all_cores()
    model.add_callback("on_train_batch_end", clock)
    with contextlib.suppress(Enough):
        model.train(epochs=100_000, save=False, **options(args))
    return {"rate": clock.steps_per_second() * args.batch}


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train for the minutes; then find boxes with the averaged weights of the last epoch."""
    epochs: list[int] = []
    model = on_all_cores()
    model.add_callback("on_train_epoch_end", lambda trainer: epochs.append(trainer.epoch))
    start = time.perf_counter()
    model.train(epochs=100_000, time=args.minutes / 60, patience=0, seed=args.seed, **options(args))
    minutes = (time.perf_counter() - start) / 60
    trained = YOLO(args.set / "runs" / "run" / "weights" / "last.pt")
    found = {}
    for path in sorted((args.set / "test").iterdir()):
        rule = {"conf": SCORE_FLOOR, "iou": NMS_IOU, "max_det": MAX_DETECTIONS}
        (result,) = trained.predict(str(path), imgsz=args.side, verbose=False, device="cpu", **rule)
        boxes = result.boxes
        found[path.stem] = [boxes.xyxy.tolist(), boxes.conf.tolist(), boxes.cls.int().tolist()]
    return {"epochs": len(epochs), "minutes": minutes, "found": found}


def main() -> None:
    """Print the answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("speed", "train"))
    parser.add_argument("set", type=Path)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    settings.update({"sync": False})
    print(json.dumps({"speed": speed, "train": train}[args.task](args)))


if __name__ == "__main__":
    main()
