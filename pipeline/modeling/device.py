"""What this machine has: device, and the precision that pays on it."""

from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


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


def autocast(precision: str, where: torch.device) -> AbstractContextManager[object]:
    """The context in which the network's forward pass runs."""
    return torch.autocast(where.type, torch.bfloat16) if precision == "bf16" else nullcontext()
