from typing import Any

import pytest

from pipeline.runtime.machine import Machine, quota, read_cpuinfo, this_machine

X86 = """processor\t: {}
physical id\t: 0
core id\t\t: {}
flags\t\t: fpu sse2 {}
"""
ARM = """processor\t: {}
BogoMIPS\t: 50.00
Features\t: fp asimd bf16
"""


@pytest.mark.parametrize(
    ("text", "allowed", "expected"),
    [
        pytest.param(
            [X86.format(0, 0, "avx2"), X86.format(1, 1, "avx2")], {0, 1}, (2, {"fpu", "sse2", "avx2"}), id="two"
        ),
        pytest.param([X86.format(i, i // 2, "") for i in range(4)], {0, 1, 2, 3}, (2, {"fpu", "sse2"}), id="twins"),
        pytest.param([X86.format(i, i // 2, "") for i in range(4)], {0, 2}, (2, {"fpu", "sse2"}), id="one of each"),
        pytest.param([X86.format(i, i, "") for i in range(4)], {3}, (1, {"fpu", "sse2"}), id="one allowed"),
        pytest.param([ARM.format(i) for i in range(4)], {0, 1, 2}, (3, {"fp", "asimd", "bf16"}), id="no core ids"),
        pytest.param([], {0, 1, 2}, (3, set()), id="no such file"),
    ],
)
def test_cores_and_instructions_are_read(text: list[str], allowed: set[int], expected: tuple[int, set[str]]) -> None:
    assert read_cpuinfo("\n".join(text), allowed) == (expected[0], frozenset(expected[1]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000\n", 8),
        ("150000 100000\n", 2),
        ("100000 100000", 1),
        ("20000 100000", 1),
        ("", 8),
        ("broken", 8),
    ],
)
def test_a_container_may_have_less(text: str, expected: int) -> None:
    assert quota(text, 8) == expected


@pytest.mark.parametrize(
    ("flags", "expected"), [({"avx512f"}, False), ({"amx_bf16"}, True), ({"avx512_bf16"}, True), (set(), False)]
)
def test_bfloat16_is_only_where_the_processor_has_it(flags: set[Any], expected: bool) -> None:  # noqa: FBT001
    assert Machine(1, frozenset(flags)).bf16 is expected


def test_this_machine_has_a_core() -> None:
    assert this_machine().cores >= 1
