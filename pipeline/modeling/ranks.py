"""Several processes that train one model: each a rank, with its share of every batch.

A step gives what one process with the whole batch would give, up to rounding: gradients are the mean over the ranks
(DistributedDataParallel), the losses of `nano` and `small` are normalised over the whole batch, and batch norm sees all
of it. Alone, every function here gives back what it is given.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.modeling.detector import Detector, Target

T = TypeVar("T")
PATIENCE = timedelta(hours=2)  # the first rank validates its share and writes the state while others wait


def rank() -> int:
    """This process's number, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    """How many processes train."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def launched() -> bool:
    """Whether torchrun, or what speaks its language, started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def joined() -> Iterator[None]:
    """Be one of torchrun's processes: gloo between CPUs, NCCL between GPUs, each with a GPU of its own.

    Does nothing in a process that was not launched so, or that somebody else has let join already.
    """
    if not launched() or distributed.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def mean(value: Tensor) -> Tensor:
    """The mean over the ranks of a tensor of any one shape, without gradient."""
    if count() == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / count()


def gathered(values: list[T]) -> list[T]:
    """Every rank's values, in the order in which `share` dealt them out."""
    if count() == 1:
        return values
    parts: list[Any] = [None] * count()
    distributed.all_gather_object(parts, values)
    longest = max(len(part) for part in parts)
    return [part[i] for i in range(longest) for part in parts if i < len(part)]


def share(values: list[T]) -> list[T]:
    """This rank's part of what all ranks hold: every n-th."""
    return values[rank() :: count()]


class _Total(torch.autograd.Function):
    """The sum over the ranks; so is its gradient, as each rank's loss depends on every rank's value."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return _Total.forward(_, gradient)


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the batches of all ranks; equal shares assumed. torch's own SyncBatchNorm is for GPUs only.

    Ioffe and Szegedy, ICML 2015. Means and variances of the shares are joined in the weights' type.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in and out, in the type that it came in."""
        if not self.training:
            return super().forward(x)
        wide = x.to(self.weight.dtype)
        var, mine = torch.var_mean(wide, (0, 2, 3), correction=0)
        joint = _Total.apply(torch.stack([mine, var + mine.square()])) / count()
        middle, spread = joint[0], joint[1] - joint[0].square()
        self._follow(middle.detach(), spread.detach(), x.numel() // x.shape[1] * count())
        gain = self.weight * torch.rsqrt(spread + self.eps)
        shift = self.bias - middle * gain
        return torch.addcmul(shift[:, None, None], wide, gain[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _follow(self, middle: Tensor, spread: Tensor, seen: int) -> None:
        """Move the running figures as torch does: `seen` values a channel give the unbiased variance."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return  # this one keeps none
        self.num_batches_tracked += 1
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(middle, momentum)
        self.running_var.lerp_(spread * seen / max(1, seen - 1), momentum)


class Losses(nn.Module):
    """A detector's loss as a `forward`, which is what DistributedDataParallel listens to."""

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """See `Detector.loss`."""
        return self.model.loss(images, targets)


def shared(model: Detector) -> nn.Module:
    """The detector's loss, whose gradients are the mean over the ranks; its batch norm is shared in place."""
    losses = Losses(model)
    if count() == 1:
        return losses
    _share_batch_norm(model)
    return DistributedDataParallel(losses, forward_sync_buffers=False)


def apart(losses: nn.Module, wanted: bool) -> AbstractContextManager[None]:  # noqa: FBT001 - the condition itself
    """Where wanted, gradients of `shared` losses add up on each rank, without those of the others."""
    return losses.no_sync() if wanted and isinstance(losses, DistributedDataParallel) else nullcontext()


def _share_batch_norm(model: nn.Module) -> None:
    """Let every batch norm of the model see the batches of all ranks; weights keep their names."""
    if next(model.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm  # the same tensors and settings, another forward
