"""The training loop: one function of (model, pictures, parameters, state), with an epoch as its unit of survival."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.core.errors import SightlineError
from pipeline.core.params import OptimizerParams, TrainParams
from pipeline.core.progress import progress
from pipeline.modeling import ranks
from pipeline.modeling.detector import Detector, Target
from pipeline.modeling.device import autocast, device, keep_memory, on_device, resolve_precision
from pipeline.modeling.loader import Pictures, batches
from pipeline.modeling.state import (
    State,
    Tensors,
    optimizer_tensors,
    read_state,
    restore_optimizer,
    write_batch,
    write_state,
)

Validate = Callable[[Detector], dict[str, float]]
OnEpoch = Callable[[dict[str, float], int], None]
SCORE = "val/AP"  # what decides which weights are best:
TOGETHER = 3  # the mean of so many validations, since on a small split a single high one is luck
AHEAD = 3  # batches drawn while a GPU works
BAD_BATCH = "bad-batch.safetensors"  # the one on which the loss stopped being a number


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a training gives. The averaged weights are the ones to use."""

    best: Tensors
    last: Tensors
    best_epoch: int
    rows: list[dict[str, float]]  # one an epoch: epoch, loss, its terms, lr, and val/* where validated
    seconds: float  # of training and validation, also before it was broken off

    @property
    def best_score(self) -> float:
        """Validation AP of `best`."""
        return self.rows[self.best_epoch - 1][SCORE]


def fit(
    model: Detector, pictures: Pictures, p: TrainParams, *, validate: Validate, on_epoch: OnEpoch, state_path: Path
) -> Trained:
    """Train, continuing from the state where there is one; one process, or one rank of several that all call this.

    Args:
        model: fresh, or the same architecture as the state's.
        pictures: decoded training pictures.
        p: section `train`.
        validate: figures of the averaged model on the validation split, the same on every rank; the mean of the last
            three `val/AP` chooses the best weights.
        on_epoch: called with each epoch's row and number, for live tracking.
        state_path: where the state is kept between epochs; every rank reads it, the first writes it.

    Raises:
        SightlineError: the loss stopped being a number (the batch lies beside the state), the memory does not hold a
            batch, the ranks cannot share it equally, or there is no picture.
    """
    if not len(pictures):
        raise SightlineError("train: the training set holds no picture; see the split's summary")
    trainer = Trainer(model, pictures, p, state_path.with_name(BAD_BATCH))
    state = trainer.start(state_path)
    with _Bar(p, trainer.steps, state.rows) as bar:
        for epoch in range(state.epoch, p.epochs):
            row = trainer.epoch(epoch, bar)
            last = epoch + 1 == p.epochs or trainer.late()
            if last or (epoch + 1) % p.validate_every == 0:
                row |= validate(trainer.average)
            state = trainer.advance(state, row)
            if ranks.rank() == 0 and (last or (epoch + 1) % p.checkpoint_every == 0):
                write_state(state_path, state)
            bar.done(row)
            on_epoch(row, epoch + 1)
            if last or (p.patience and _without_gain(state) >= p.patience):
                break
    return Trained(state.best, state.average, state.best_epoch, state.rows, state.seconds)


def _standing(rows: list[dict[str, float]]) -> float:
    """By which the weights of a validation are compared: its AP and those just before it, averaged."""
    return fmean([row[SCORE] for row in rows if SCORE in row][-TOGETHER:])


def _without_gain(state: State) -> int:
    """Validations since the best one."""
    return sum(SCORE in row and row["epoch"] > state.best_epoch for row in state.rows)


class _Bar:
    """One over the whole training: pictures, time left, pictures a second, the epoch's loss, the latest AP."""

    def __init__(self, p: TrainParams, steps: int, rows: list[dict[str, float]]) -> None:
        self.epochs, self.batch_size = p.epochs, p.batch_size
        epoch = steps * p.batch_size
        total, done = p.epochs * epoch, len(rows) * epoch
        self.bar = progress(total=total, initial=done, unit=" pictures", disable=ranks.rank() > 0)
        self.latest: dict[str, str] = {}
        for row in rows:
            self.done(row)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def step(self, epoch: int, loss: float) -> None:
        """One more batch of an epoch (from 0), whose mean loss so far is `loss`."""
        self.bar.set_description(f"epoch {epoch + 1}/{self.epochs}", refresh=False)
        self.bar.set_postfix({"loss": f"{loss:.3f}", **self.latest}, refresh=False)
        self.bar.update(self.batch_size)

    def done(self, row: dict[str, float]) -> None:
        """An epoch is over."""
        if SCORE in row:
            self.latest = {"AP": f"{row[SCORE]:.3f}"}


class Trainer:
    """Model, its moving average and its optimiser on their device."""

    def __init__(self, model: Detector, pictures: Pictures, p: TrainParams, bad_batch: Path = Path(BAD_BATCH)) -> None:
        self.p, self.pictures, self.bad_batch = p, pictures, bad_batch
        self.where = device()
        keep_memory()
        self.precision = resolve_precision(p.precision)
        self.model = on_device(model, self.where)
        self.average = deepcopy(self.model).eval()
        self.losses = ranks.shared(self.model)
        self.optimizer = _optimizer(self.model, p.optimizer)
        pairs = list(zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True))
        self._floats = _columns(pair for pair in pairs if pair[0].is_floating_point())
        self._counts = _columns(pair for pair in pairs if not pair[0].is_floating_point())
        self.steps = max(1, len(pictures) // p.batch_size)  # an epoch
        self.began = time.monotonic()

    def start(self, path: Path) -> State:
        """The state to continue from; models and optimiser are set to it."""
        if not path.exists():
            return State(0, [], -1.0, 0, 0.0, {}, {}, {}, {})
        state = read_state(path)
        self.began -= state.seconds
        self.model.load_state_dict(state.weights)
        self.average.load_state_dict(state.average)
        restore_optimizer(self.optimizer, state.optimizer)
        return state

    def epoch(self, epoch: int, bar: _Bar) -> dict[str, float]:
        """Train one epoch (from 0) and return its row of the curves."""
        self.model.train()
        torch.manual_seed(_seed(self.p.seed, epoch, ranks.rank()))  # of what a loss draws by chance
        totals: dict[str, float] = {}
        for step, terms in enumerate(self.each_step(epoch), start=1):
            for name, value in terms.items():
                totals[name] = totals.get(name, 0.0) + value
            bar.step(epoch, totals["loss"] / step)
        means = ranks.mean(torch.tensor(list(totals.values()), dtype=torch.float64, device=self.where)) / self.steps
        row = dict(zip(totals, means.tolist(), strict=True))
        return {"epoch": epoch + 1, **row, "lr": self.optimizer.param_groups[0]["lr"]}

    def late(self) -> bool:
        """Whether the time limit is over: by the mean of the ranks' clocks, so that all end together."""
        seconds = torch.tensor(time.monotonic() - self.began, dtype=torch.float64, device=self.where)
        return 0 < self.p.minutes * 60 <= float(ranks.mean(seconds))

    def advance(self, state: State, row: dict[str, float]) -> State:
        """The state after an epoch."""
        average = _copy(self.average)
        rows = [*state.rows, row]
        standing = _standing(rows) if SCORE in row else state.best_score
        better = standing > state.best_score
        return State(
            int(row["epoch"]),
            rows,
            standing if better else state.best_score,
            int(row["epoch"]) if better else state.best_epoch,
            time.monotonic() - self.began,
            _copy(self.model),
            average,
            average if better or not state.best else state.best,
            optimizer_tensors(self.optimizer),
        )

    def each_step(self, epoch: int) -> Iterator[dict[str, float]]:
        """Train one epoch (from 0); the loss and its terms of each step."""
        plain = epoch >= self.p.epochs - self.p.loop.close_epochs
        ahead = 0 if self.where.type == "cpu" else AHEAD
        p = self.p
        loader = batches(
            self.pictures, p.loop, batch_size=p.batch_size, seed=p.seed, epoch=epoch, plain=plain, ahead=ahead
        )
        for step, (images, targets) in enumerate(loader, start=epoch * self.steps):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.p, step, self.steps)
            terms = self._fitting(images, targets, epoch)
            self._follow(step + 1)
            yield terms

    def _fitting(self, images: Tensor, targets: list[Target], epoch: int) -> dict[str, float]:
        """One step of the optimiser, or advice where the memory is short."""
        try:
            return self._descend(images, targets, epoch)
        except RuntimeError as error:
            if not _is_memory(error):
                raise
        raise SightlineError(self._advice(images, targets, epoch))

    def _descend(self, images: Tensor, targets: list[Target], epoch: int) -> dict[str, float]:
        """One step of the optimiser; the loss and its terms before it, of this rank."""
        self.optimizer.zero_grad()
        totals: dict[str, float] = {}
        part = math.ceil(len(images) / self.p.accumulate)
        for start in range(0, len(images), part):
            mine = slice(start, start + part)
            with ranks.apart(self.losses, start + part < len(images)):  # they meet at the last part
                terms = self._backward(images[mine], targets[mine], len(images), epoch)
            for name, value in terms.items():
                totals[name] = totals.get(name, 0.0) + float(value.detach())
        nn.utils.clip_grad_norm_(self.model.parameters(), self.p.clip_norm)
        self.optimizer.step()
        return totals

    def _backward(self, images: Tensor, targets: list[Target], whole: int, epoch: int) -> dict[str, Tensor]:
        """Add the gradients of a part of a batch of `whole` pictures; its share of the loss and of the terms."""
        with autocast(self.precision, self.where):
            terms = self.losses(images.to(self.where), [t.to(self.where) for t in targets])
        loss = torch.stack(list(terms.values())).sum() * (len(images) / whole)
        if not torch.isfinite(loss):
            write_batch(self.bad_batch, images, targets)
            raise SightlineError(
                f"train: the loss is {float(loss.detach())} in epoch {epoch + 1}; lower train.optimizer.lr or set "
                f"train.precision=fp32; the batch lies in {self.bad_batch}"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        return {"loss": loss} | {f"loss/{name}": value * (len(images) / whole) for name, value in terms.items()}

    def _advice(self, images: Tensor, targets: list[Target], epoch: int) -> str:
        """What to set where the memory does not hold a part of a batch: found by trying smaller ones."""
        size = math.ceil(len(images) / self.p.accumulate)
        told = f"train: the memory does not hold {size} pictures at a time"
        if ranks.count() > 1:  # the others do not try
            return f"{told}; set train.accumulate={self.p.accumulate * 2}, which computes each share in more parts"
        fitting = next((n for n in _halves(size) if self._holds(images[:n], targets[:n], epoch)), 0)
        if not fitting:
            return f"{told}, nor one; choose a smaller input or model"
        parts = math.ceil(len(images) / fitting)
        return (
            f"{told}, but {fitting}: set train.accumulate={parts}, which computes a batch in parts, or "
            f"train.batch_size={fitting}"
        )

    def _holds(self, images: Tensor, targets: list[Target], epoch: int) -> bool:
        """Whether the memory holds the gradients of these pictures."""
        try:
            self._backward(images, targets, len(images), epoch)
        except RuntimeError as error:
            if not _is_memory(error):
                raise
            return False
        return True

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        """Move the average towards the weights; slowly only once there is something worth remembering."""
        decay = self.p.ema_decay * (1 - math.exp(-step / 200))
        torch._foreach_lerp_(*self._floats, 1 - decay)
        if self._counts[0]:  # of batch norms
            torch._foreach_copy_(*self._counts)


def _is_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)


def _halves(size: int) -> Iterator[int]:
    """Half of it, a quarter, and so on down to 1."""
    while size := size // 2:
        yield size


def _seed(*numbers: int) -> int:
    """One number for torch's generator from several."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def learning_rate(p: TrainParams, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to `min_lr_ratio`.

    Args:
        p: section `train`.
        step: from 0, over the whole training.
        steps: steps an epoch.
    """
    warmup = max(1, round(p.warmup_epochs * steps))
    if step < warmup:
        return p.optimizer.lr * (step + 1) / warmup
    share = (step - warmup) / max(1, p.epochs * steps - warmup)
    return p.optimizer.lr * (p.min_lr_ratio + (1 - p.min_lr_ratio) * (1 + math.cos(math.pi * share)) / 2)


def _optimizer(model: Detector, p: OptimizerParams) -> torch.optim.Optimizer:
    """Weight decay on convolutions and matrices only, not on norms and biases."""
    parameters = list(model.parameters())
    groups = [
        {"params": [q for q in parameters if q.ndim > 1], "weight_decay": p.weight_decay},
        {"params": [q for q in parameters if q.ndim <= 1], "weight_decay": 0.0},
    ]
    if p.name == "sgd":
        return torch.optim.SGD(groups, lr=p.lr, momentum=p.momentum, nesterov=p.momentum > 0)
    return torch.optim.AdamW(groups, lr=p.lr, fused=True)


def _columns(pairs: Iterable[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    held = list(pairs)
    return [mean for mean, _ in held], [value for _, value in held]


def _copy(model: nn.Module) -> Tensors:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
