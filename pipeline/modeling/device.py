"""What this machine has: device, and the precision that pays on it."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import cv2
import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)
# mallopt(3) of glibc: freed memory below this size is kept, up to so much of it.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST_KEPT, MOST_KEPT = 32 << 20, (1 << 31) - 1  # the most that glibc takes


def device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on_device(model: M, where: torch.device) -> M:
    """The model on the device, channels last: the layout that convolutions like on CPUs and on tensor cores."""
    return model.to(where).to(memory_format=torch.channels_last)


def resolve_precision(wanted: str) -> str:
    """`auto` to bf16 where the hardware multiplies it natively (AMX, AVX512-BF16, CUDA from Ampere), else fp32."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    has = torch.cpu.get_capabilities()
    return "bf16" if has.get("amx_bf16") or has.get("avx512_bf16") else "fp32"


def reproducible(seed: int, *, everywhere: bool) -> None:
    """Start every random number from `seed`; `everywhere`: let GPUs, too, give the same bytes twice, more slowly.

    CUDA's matrix products need their workspace fixed before the first one. An operation that has no such version warns.
    """
    torch.manual_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(everywhere, warn_only=True)
    torch.backends.cudnn.benchmark = not everywhere


def keep_memory() -> bool:
    """Let the C library keep what tensors free for the next ones; whether it could be told.

    By default glibc gives large blocks back to the system, which clears every page anew when the next step asks for
    them: more than a tenth of a training step. Other C libraries have no such setting, and need none.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc, or no way to ask
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST_KEPT) and mallopt(TRIM_THRESHOLD, MOST_KEPT))


def autocast(precision: str, where: torch.device) -> AbstractContextManager[object]:
    """The context in which the network's forward pass runs."""
    return torch.autocast(where.type, torch.bfloat16) if precision == "bf16" else nullcontext()


@contextmanager
def shared_cores() -> Iterator[None]:
    """While threads of ours prepare pictures: half of the cores for the network, one for each call of OpenCV.

    Threads of the network that wait for a core do so in a busy loop; with as many as there are cores beside ours, both
    take several times as long.
    """
    network, opencv = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(max(1, network // 2))
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(network)
        cv2.setNumThreads(opencv)
