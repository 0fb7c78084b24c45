"""Train the detector on the training shards; validate on the validation split.

Reads the training shards and, for validation, frames and annotations of the validation split. Writes the weights
`best.safetensors` and `last.safetensors`, `model.json`, `curves.jsonl` and `train.json`. A killed run continues from
its last saved epoch: the state waits in the `--state` folder under a fingerprint of everything that decides the result,
and goes once the training is done.
"""

import fcntl
import hashlib
import json
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import SightlineError
from pipeline.core.params import ComputeParams, DataParams, InputParams, ModelParams, RegisterParams, TrainParams
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.types import Split, Truth
from pipeline.io.coco_eval import coco_scores
from pipeline.io.files import file_sha256, fresh_folder, write_bytes, write_json
from pipeline.io.frames import pictures, truth_of
from pipeline.io.training import TrainingSet
from pipeline.modeling import mining, ranks
from pipeline.modeling.detector import Detector
from pipeline.modeling.device import reproducible
from pipeline.modeling.hog_svm import HogSvm
from pipeline.modeling.loop import OnEpoch, Trained, fit
from pipeline.modeling.predict import Item, predict_with
from pipeline.modeling.state import save_tensors
from pipeline.modeling.zoo import ModelCard, build
from pipeline.runtime.contract import OutputContract
from pipeline.services.launching import launch
from pipeline.services.tracking import LiveRun, root

STATE = "state.safetensors"

# Epochs are compared with one another under this rule; what ships is ruled by section `evaluate`.
RULE = OutputContract(boxes="boxes", scores="scores", score_floor=0.01, nms_iou=0.6, max_detections=100)


@dataclass(frozen=True, slots=True)
class Settings:
    """The sections of params.yaml that decide what a training gives."""

    input: InputParams
    data: DataParams
    model: ModelParams
    train: TrainParams

    @classmethod
    def load(cls) -> "Settings":
        """Read them all."""
        return cls(
            InputParams.load("input"),
            DataParams.load("data"),
            ModelParams.load("model"),
            TrainParams.load("train"),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the input, pixels."""
        return self.input.width, self.input.height

    def compared(self) -> dict[str, Any]:
        """The sections by which trainings are told apart in MLflow."""
        sections = {"input": self.input, "model": self.model, "train": self.train}
        return {name: section.model_dump(mode="json") for name, section in sections.items()}


@dataclass(frozen=True, slots=True)
class Validation:
    """The validation split in memory, and the figures of a detector on it; each rank predicts its share."""

    items: list[Item]
    truth: dict[str, Truth]
    settings: Settings

    def __call__(self, model: Detector) -> dict[str, float]:
        """`val/AP` and `val/AP50`, 0 where nothing is found."""
        batch_size = self.settings.train.batch_size
        mine = predict_with(model, ranks.share(self.items), target=self.settings.size, rule=RULE, batch_size=batch_size)
        found = dict(ranks.gathered(list(mine)))
        scores, _ = coco_scores(list(self.truth.values()), list(found.values()), self.settings.data.classes)
        return {f"val/{name}": scores.get(name, 0.0) for name in ("AP", "AP50")}


def fingerprint(settings: Settings, inputs: list[Path]) -> str:
    """Hash of everything that decides the result: parameters, input files, the code of `modeling`."""
    digest = hashlib.sha256()
    for part in (settings.input, settings.data, settings.model, settings.train):
        digest.update(part.model_dump_json().encode())
    files = [f for path in inputs for f in ([path] if path.is_file() else sorted(path.iterdir())) if f.is_file()]
    for file in [*files, *sorted((Path(__file__).parent / "modeling").glob("*.py"))]:
        digest.update(file.name.encode() + file_sha256(file).encode())
    return digest.hexdigest()[:16]


@contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """The state's path; one training at a time may hold it, for as long as its process lives."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SightlineError(
                f"train: another training works on {folder}; wait for it, or end it (fuser {folder}/lock names it)"
            ) from None
        yield folder / STATE


def write(out: Path, trained: Trained, card: ModelCard, epochs: int) -> None:
    """What the training leaves for the stages after it."""
    fresh_folder(out)
    save_tensors(out / "best.safetensors", trained.best)
    save_tensors(out / "last.safetensors", trained.last)
    write_json(out / "model.json", card.model_dump(mode="json"))
    write_bytes(out / "curves.jsonl", "".join(json.dumps(row) + "\n" for row in trained.rows).encode())
    figures = {"epochs": epochs, "best_epoch": trained.best_epoch, "best_val_AP": trained.best_score}
    write_json(out / "train.json", figures)


def train(args: Namespace, settings: Settings, on_epoch: OnEpoch, state_path: Path) -> Trained:
    """Train as one process, or as one rank of several."""
    truth = truth_of(args.annotations, args.splits, Split.VAL, settings.data.classes)
    validation = Validation(list(pictures(args.frames, list(truth))), truth, settings)
    reproducible(settings.train.seed, everywhere=settings.train.deterministic)
    model = build(settings.model.name, len(settings.data.classes), settings.size, settings.model.weights)
    if ranks.rank() == 0:
        summary("train", f"{settings.model.name} starts from {model.origin}")
    examples = TrainingSet.open(args.training)
    if isinstance(model, HogSvm):
        return mining.fit(model, examples, settings.train, validate=validation, on_epoch=on_epoch)
    return fit(model, examples, settings.train, validate=validation, on_epoch=on_epoch, state_path=state_path)


def lead(args: Namespace, settings: Settings, mark: str, folder: Path) -> None:
    """Train as the process that tracks, keeps the state and writes."""
    live = LiveRun(RegisterParams.load("register").experiment, mark, settings.compared())
    with alone(folder) as state_path, live:
        trained = train(args, settings, live.log, state_path)
        size = {"width": settings.input.width, "height": settings.input.height}
        card = ModelCard(name=settings.model.name, classes=settings.data.classes, **size)
        write(args.out, trained, card, len(trained.rows))
        live.finish(weights=file_sha256(args.out / "best.safetensors"), minutes=trained.seconds / 60)
    shutil.rmtree(folder)
    summary(
        "train",
        f"{len(trained.rows)} epochs of {settings.model.name}; best validation AP {trained.best_score:.3f} "
        f"in epoch {trained.best_epoch}",
    )


def main(argv: list[str] | None = None) -> None:
    """Run the stage: in this process, or in as many as section `compute` asks for."""
    names = ("training", "frames", "annotations", "splits", "state", "out")
    args = stage_arguments(__doc__, *names).parse_args(argv)
    compute = ComputeParams.load("compute")
    if not ranks.launched() and (compute.processes > 1 or compute.engine == "ray"):
        launch("pipeline.train", sys.argv[1:] if argv is None else argv, compute)
        return
    settings = Settings.load()
    mark = fingerprint(settings, [args.training, args.splits, args.annotations])
    folder = root() / args.state / mark  # the copy in which DVC runs a queued experiment goes when it fails
    with ranks.joined():
        if ranks.rank() == 0:
            lead(args, settings, mark, folder)
        else:
            train(args, settings, lambda *_: None, folder / STATE)


if __name__ == "__main__":
    run(main)
