"""What the machine has: cores that this process may use, and instructions that decide the precision."""

import os
from dataclasses import dataclass
from pathlib import Path

BF16 = frozenset({"amx_bf16", "avx512_bf16"})  # without one of them bfloat16 is emulated, and slower than float32


@dataclass(frozen=True, slots=True)
class Machine:
    """The processor, as far as an engine's settings depend on it."""

    cores: int  # physical ones that this process may use
    flags: frozenset[str]  # of the instruction set, in Linux's words

    @property
    def bf16(self) -> bool:
        """Whether it multiplies bfloat16 itself."""
        return bool(self.flags & BF16)


def this_machine() -> Machine:
    """The machine that this runs on; on other systems than Linux every logical processor counts as a core."""
    allowed = set(range(os.cpu_count() or 1))
    if hasattr(os, "sched_getaffinity"):
        allowed = os.sched_getaffinity(0)
    cores, flags = read_cpuinfo(_text("/proc/cpuinfo"), allowed)
    return Machine(max(1, min(cores, quota(_text("/sys/fs/cgroup/cpu.max"), cores))), flags)


def read_cpuinfo(text: str, allowed: set[int]) -> tuple[int, frozenset[str]]:
    """Physical cores behind the `allowed` processors, and the instruction set's flags, of /proc/cpuinfo's text."""
    blocks = [_fields(block) for block in text.split("\n\n")]
    mine = [block for block in blocks if block.get("processor", "").isdigit() and int(block["processor"]) in allowed]
    # Two processors of one core share its arithmetic units; where nothing is told, each is a core.
    cores = {(block.get("physical id"), block.get("core id", block["processor"])) for block in mine}
    flags = mine[0].get("flags", mine[0].get("Features", "")) if mine else ""
    return len(cores) or len(allowed), frozenset(flags.split())


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def quota(text: str, cores: int) -> int:
    """Whole cores that a container's limit leaves, of cgroup's cpu.max (`limit period`, or `max period`)."""
    limit, _, period = text.strip().partition(" ")
    return max(1, round(int(limit) / int(period))) if limit.isdigit() and period.isdigit() else cores


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
