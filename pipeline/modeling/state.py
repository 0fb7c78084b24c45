"""The state of a training, written after an epoch whole or not at all: safetensors, no pickle.

Randomness needs no state (see `loader`) and the learning rate is a function of the step, so weights, averaged weights,
the optimiser's moments and the rows of the curves are all there is.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipeline.core.errors import DataError
from pipeline.core.writing import whole
from pipeline.modeling.detector import Target

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Everything that the next epoch depends on."""

    epoch: int  # epochs done
    rows: list[dict[str, float]]  # curves so far, one row an epoch
    best_score: float  # mean validation AP by which `best` is best, -1 before the first validation
    best_epoch: int
    seconds: float  # that it took so far
    weights: Tensors
    average: Tensors
    best: Tensors
    optimizer: Tensors


PARTS = ("weights", "average", "best", "optimizer")


def save_tensors(path: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> None:
    """Write safetensors, whole or not at all; bytes depend on the values alone."""
    with whole(path) as temporary:
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, temporary, metadata)


def load_tensors(path: Path) -> Tensors:
    """Read safetensors. Raises DataError where the file is missing or broken."""
    return _open(path)[0]


def write_state(path: Path, state: State) -> None:
    """Write the state, whole or not at all."""
    tensors = {f"{part}/{name}": value for part in PARTS for name, value in getattr(state, part).items()}
    plain = {name: getattr(state, name) for name in ("epoch", "rows", "best_score", "best_epoch", "seconds")}
    save_tensors(path, tensors, {"state": json.dumps(plain)})


def write_batch(path: Path, images: Tensor, targets: Sequence[Target]) -> None:
    """Write a batch (B, 3, H, W) to look at: `images`, and `boxes/i`, `labels/i`, `ignore/i` of picture i."""
    tensors = {"images": images}
    for i, target in enumerate(targets):
        tensors |= {f"boxes/{i}": target.boxes, f"labels/{i}": target.labels, f"ignore/{i}": target.ignore}
    save_tensors(path, tensors)


def read_state(path: Path) -> State:
    """Read a state. Raises DataError where the file is missing or broken."""
    tensors, metadata = _open(path)
    parts: dict[str, Tensors] = {part: {} for part in PARTS}
    for key, value in tensors.items():
        part, name = key.split("/", 1)
        parts[part][name] = value
    try:
        plain: dict[str, Any] = json.loads(metadata["state"]) | parts
        return State(**plain)
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path} is no training state ({error}); delete it to start afresh") from None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """The optimiser's moments as `<parameter>.<name>`."""
    state: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Put the moments back, laid out in memory as their parameters; learning rates come from the schedule.

    AdamW's fused kernel pairs values by their place in memory: beside a parameter that is channels last, moments that
    are not would be those of other weights.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    whole_state: dict[str, Any] = {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    optimizer.load_state_dict(whole_state)
    for parameter, held in optimizer.state.items():
        for name, value in held.items():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                held[name] = torch.empty_like(parameter).copy_(value)


def _open(path: Path) -> tuple[Tensors, dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; run: dvc repro train") from None
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is broken ({error}); delete it and run: dvc repro train") from None
