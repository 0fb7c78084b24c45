"""Perceptual hashes: 64 bits, alike where few of them differ."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

HASH_BITS = 64


def bands(hashes: NDArray[np.uint64], bits: int) -> Iterator[NDArray[np.uint64]]:
    """The hashes, (N,), cut into `bits` + 1 runs of neighbouring bits, one array (N,) a run.

    Hashes at most `bits` apart agree in one run at least (pigeonhole), so only those that share a run need comparing:
    for 100,000 pictures that takes seconds, not hours.

    >>> [band.tolist() for band in bands(np.array([0x1_0000_0002], np.uint64), 1)]
    [[2], [1]]
    """
    edges = np.linspace(0, HASH_BITS, bits + 2).astype(int).tolist()
    for low, high in pairwise(edges):
        yield (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
