"""Fifty steps of the training loop, as a stage that may run in several processes: see test_launching."""

import json
import sys
from itertools import count, islice
from pathlib import Path

import torch

from pipeline.core.params import TrainParams
from pipeline.modeling import ranks
from pipeline.modeling.loop import Trainer
from pipeline.modeling.zoo import build
from tests.squares import Squares

STEPS = 50


def losses(p: TrainParams, bad_batch: Path) -> list[float]:
    """The loss of each step, the mean over the ranks.

    In float64: which points answer for an object is all or nothing, so that in float32 the rounding of another order of
    sums grows to anything within some steps, with two threads instead of one as with two processes.
    """
    torch.manual_seed(0)
    trainer = Trainer(build("nano", 2, (64, 64), "none").double(), Squares(32), p, bad_batch)
    each = (terms["loss"] for epoch in count() for terms in trainer.each_step(epoch))
    told = (torch.tensor(loss, dtype=torch.float64, device=trainer.where) for loss in islice(each, STEPS))
    return [float(ranks.mean(loss)) for loss in told]


def main(argv: list[str] | None = None) -> None:
    """Arguments: a file with section `train`, and the file to write."""
    source, out = map(Path, sys.argv[1:] if argv is None else argv)
    with ranks.joined():
        found = losses(TrainParams.load("train", source), out.with_suffix(".bad"))
        if ranks.rank() == 0:
            out.write_text(json.dumps({"processes": ranks.count(), "losses": found}))


if __name__ == "__main__":
    main()
