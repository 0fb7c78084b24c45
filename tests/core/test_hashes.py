import numpy as np
import pytest

from pipeline.core.hashes import bands


@pytest.mark.parametrize("bits", [0, 1, 2, 5, 16])
def test_hashes_within_the_distance_share_a_band(bits: int) -> None:
    rng = np.random.default_rng(bits)
    for _ in range(50):
        one = int(rng.integers(0, 1 << 63, dtype=np.uint64)) | (int(rng.integers(0, 2)) << 63)
        other = one
        for place in rng.choice(64, bits, replace=False):
            other ^= 1 << int(place)
        runs = list(bands(np.array([one, other], np.uint64), bits))
        assert len(runs) == bits + 1
        assert any(band[0] == band[1] for band in runs)


@pytest.mark.parametrize("bits", [0, 3, 16])
def test_bands_hold_every_bit_once(bits: int) -> None:
    every = [int(band[0]).bit_count() for band in bands(np.array([2**64 - 1], np.uint64), bits)]
    assert sum(every) == 64
