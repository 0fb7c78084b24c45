"""AP50 on the street set after some minutes of training from scratch, on this machine.

    python benchmarks/street.py [--minutes 10] [--model nano] [--side 320] [--batch 16] [--lr 0.003] [--seed 0]
    python benchmarks/street.py --peer ultralytics [--minutes 10] [--side 320] [--batch 16] [--seed 0]

The street set are 567 pictures to learn from and 253 others, of coco256 and openimages_vehicles in ../shared/data; the
classes are person and vehicle. People are not labelled in openimages_vehicles: in its test pictures they are neither
hits nor false alarms, in training they are background. The epochs are those that fit into the minutes at the speed of
the first steps. Printed: AP, AP50, person's and vehicle's AP50, and the minutes that it took.
--peer ultralytics trains its yolo11n for as long, by its own recipe and in an environment of its own (AGPL), and its
detections on the same test pictures go through the same evaluation.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from peers import yolo

from pipeline.core.params import TrainParams
from pipeline.core.types import Annotation, Detections, Frame, Truth
from pipeline.io.coco_eval import coco_scores
from pipeline.io.files import read_json
from pipeline.io.images import decode
from pipeline.modeling.loop import Trainer, fit
from pipeline.modeling.predict import predict_with
from pipeline.modeling.zoo import build
from pipeline.runtime.preprocess import letterbox
from pipeline.train import RULE
from pipeline.vision.quality import perceptual_hash

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
PARAMS = ROOT / "params.yaml"
LEARN = (("coco256", "train"), ("openimages_vehicles", "train"))
TEST = (("coco256", "val"), ("openimages_vehicles", "valid"))
CLASSES = ("person", "vehicle")
VEHICLES = ("car", "bus", "truck", "motorcycle", "ambulance")
NO_PEOPLE = "openimages_vehicles"
STEPS = 40  # that the speed is measured on


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Letterboxed pictures and their boxes: what the loop trains on, and where their labels come from."""

    frames: list[Frame]
    images: list[NDArray[np.uint8]]  # (side, side, 3)
    truths: list[Truth]  # input pixels

    @property
    def boxes(self) -> list[NDArray[np.float32]]:
        """(M, 4) of each picture."""
        return [truth.boxes for truth in self.truths]

    @property
    def labels(self) -> list[NDArray[np.int64]]:
        """(M,) of each picture."""
        return [truth.labels for truth in self.truths]

    @property
    def ignore(self) -> list[NDArray[np.bool_]]:
        """(M,) of each picture."""
        return [truth.ignore for truth in self.truths]

    def __len__(self) -> int:
        return len(self.frames)

    def picture(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8."""
        return self.images[index]

    def at(self, chosen: Sequence[int]) -> "Pictures":
        """Some of them."""
        frames, images = [self.frames[i] for i in chosen], [self.images[i] for i in chosen]
        return Pictures(frames, images, [self.truths[i] for i in chosen])

    def items(self) -> list[tuple[str, NDArray[np.uint8]]]:
        """As `predict_with` takes them."""
        return [(frame.frame_id, image) for frame, image in zip(self.frames, self.images, strict=True)]


def read(parts: Sequence[tuple[str, str]], side: int, *, test: bool) -> Pictures:
    """The pictures of some sets, letterboxed to `side` x `side` pixels."""
    result = Pictures([], [], [])
    for name, split in parts:
        doc = read_json(DATA / name / f"instances_{split}.json")
        names = {category["id"]: category["name"].lower() for category in doc["categories"]}
        for entry in doc["images"]:
            image = decode((DATA / name / "images" / split / entry["file_name"]).read_bytes())
            placed, placement = letterbox(image, (side, side))
            size = image.shape[1], image.shape[0]
            frame_id = f"{name}/{split}/{entry['id']}"
            boxes = [
                Annotation(frame_id, label, x, y, width, height, ignore=bool(it.get("iscrowd")))
                for it in doc["annotations"]
                if it["image_id"] == entry["id"] and (label := _label(names[it["category_id"]]))
                for x, y, width, height in [it["bbox"]]
            ]
            if test and name == NO_PEOPLE:
                boxes.append(Annotation(frame_id, "person", 0, 0, *size, ignore=True))
            truth = Truth.of(boxes, CLASSES)
            result.frames.append(Frame(frame_id, name, name, 0, None, *size, "", phash=perceptual_hash(image)))
            result.images.append(placed)
            result.truths.append(Truth(placement.to_input(truth.boxes), truth.labels, truth.ignore))
    return result


def _label(name: str) -> str:
    return "vehicle" if name in VEHICLES else name if name == "person" else ""


def settings(args: argparse.Namespace, pictures: Pictures) -> TrainParams:
    """Section `train` with the epochs that fit into the minutes."""
    p = TrainParams.load("train", PARAMS)
    optimizer = p.optimizer.model_copy(update={"lr": args.lr})
    p = p.model_copy(update={"batch_size": args.batch, "seed": args.seed, "optimizer": optimizer})
    trial = Trainer(build(args.model, len(CLASSES), (args.side, args.side), "none"), pictures, p).each_step(0)
    list(islice(trial, 3))
    start = time.perf_counter()
    steps = len(list(islice(trial, min(STEPS, len(pictures) // args.batch - 3))))
    epoch = (time.perf_counter() - start) / steps * (len(pictures) // args.batch)
    epochs = max(1, int(60 * args.minutes / epoch))
    return p.model_copy(update={"epochs": epochs, "validate_every": epochs, "checkpoint_every": epochs})


def ours(args: argparse.Namespace, learn: Pictures, test: Pictures) -> tuple[list[Detections], int, float]:
    """What our model finds in the test pictures, its epochs, and its minutes."""
    p = settings(args, learn)
    torch.manual_seed(args.seed)
    model = build(args.model, len(CLASSES), (args.side, args.side), "none")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        trained = fit(model, learn, p, validate=lambda _: {}, on_epoch=lambda *_: None, state_path=state)
    minutes = (time.perf_counter() - start) / 60
    model.load_state_dict(trained.last)
    target = (args.side, args.side)
    found = predict_with(model.eval(), test.items(), target=target, rule=RULE, batch_size=32)
    return [it for _, it in found], p.epochs, minutes


def theirs(args: argparse.Namespace, learn: Pictures, test: Pictures) -> tuple[list[Detections], int, float]:
    """The same of Ultralytics' yolo11n."""
    with tempfile.TemporaryDirectory() as name:
        yolo.write_set(Path(name), learn, test.images)
        answer = yolo.ask("train", Path(name), side=args.side, batch=args.batch, minutes=args.minutes, seed=args.seed)
    found = [
        Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64))
        for _, (boxes, scores, labels) in sorted(answer["found"].items())
    ]
    return found, answer["epochs"], answer["minutes"]


def main() -> None:
    """Train, and print what it gives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--peer", choices=("ultralytics",), help="instead of a model of ours")
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=0.003)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not DATA.is_dir():
        print(f"skipped: {DATA} is absent, and the pictures may not ship")
        return
    learn, test = read(LEARN, args.side, test=False), read(TEST, args.side, test=True)
    name = "yolo11n of Ultralytics" if args.peer else args.model
    found, epochs, minutes = (theirs if args.peer else ours)(args, learn, test)
    overall, of = coco_scores(test.truths, found, CLASSES)
    told = ", ".join(f"{it} AP50 {of[it]['AP50']:.3f}" for it in CLASSES)
    rate = epochs * len(learn) / minutes / 60
    print(f"{name}: AP {overall['AP']:.3f}, AP50 {overall['AP50']:.3f}, {told}")
    print(f"{epochs} epochs in {minutes:.1f} minutes, {rate:.0f} images a second")


if __name__ == "__main__":
    main()
