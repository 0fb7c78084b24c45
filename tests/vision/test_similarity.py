import time

import numpy as np
import pytest

from pipeline.vision.similarity import SAME_LOOK, near_duplicates

PLAIN = [100] * 16


def look(*, brighter: int = 0, cell: int = 0) -> list[int]:
    """A thumbnail of 16 cells, made brighter as a whole or in one cell."""
    return [PLAIN[0] + brighter + cell, *[level + brighter for level in PLAIN[1:]]]


@pytest.mark.parametrize(
    ("hashes", "looks", "bits", "expected"),
    [
        pytest.param([], [], 2, [], id="nothing"),
        pytest.param([7, 7], [PLAIN, PLAIN], 0, [-1, 0], id="copy"),
        pytest.param([7, 7, 7], [PLAIN, PLAIN, PLAIN], 0, [-1, 0, 0], id="two copies of one original"),
        pytest.param([7, 7], [PLAIN, look(brighter=SAME_LOOK)], 0, [-1, 0], id="hardly brighter"),
        pytest.param([7, 7], [PLAIN, look(brighter=SAME_LOOK + 1)], 0, [-1, -1], id="flat pictures' hashes collide"),
        pytest.param([7, 7], [PLAIN, look(cell=60)], 0, [-1, -1], id="something entered the scene"),
        pytest.param([0b111, 0b110], [PLAIN, PLAIN], 0, [-1, -1], id="one bit off, none allowed"),
        pytest.param([0b111, 0b110], [PLAIN, PLAIN], 1, [-1, 0], id="one bit off, one allowed"),
        pytest.param([1 << 63, 0], [PLAIN, PLAIN], 1, [-1, 0], id="highest bit"),
        pytest.param([0b0, 0b11, 0b1111], [PLAIN] * 3, 2, [-1, 0, -1], id="small changes do not add up"),
        pytest.param([0xF, 0xF0, 0xF, 0xF0], [PLAIN] * 4, 0, [-1, -1, 0, 1], id="two originals"),
    ],
)
def test_near_duplicates(hashes: list[int], looks: list[list[int]], bits: int, expected: list[int]) -> None:
    thumbnails = np.array(looks, np.uint8).reshape(len(looks), 16)
    assert near_duplicates(np.array(hashes, np.uint64), thumbnails, bits).tolist() == expected


@pytest.mark.parametrize("bits", [0, 1, 3, 8, 16])
def test_buckets_miss_nothing_that_a_full_comparison_finds(bits: int) -> None:
    rng = np.random.default_rng(bits)
    originals = rng.integers(0, 1 << 64, 60, np.uint64)
    flips = np.array(
        [sum(1 << int(b) for b in rng.choice(64, rng.integers(0, 12), replace=False)) for _ in range(240)], np.uint64
    )
    hashes = np.concatenate([originals, np.repeat(originals, 4) ^ flips])
    expected = np.full(len(hashes), -1)
    for later in range(len(hashes)):
        for earlier in range(later):
            if expected[earlier] < 0 and (int(hashes[later]) ^ int(hashes[earlier])).bit_count() <= bits:
                expected[later] = earlier
                break
    found = near_duplicates(hashes, np.zeros((len(hashes), 16), np.uint8), bits)
    assert found.tolist() == expected.tolist()


def test_a_hundred_thousand_pictures_take_seconds() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 64, 50_000, np.uint64)
    hashes = np.concatenate([hashes, hashes])
    start = time.perf_counter()
    found = near_duplicates(hashes, np.zeros((len(hashes), 16), np.uint8), 2)
    assert found[50_000:].tolist() == list(range(50_000))
    assert time.perf_counter() - start < 20
