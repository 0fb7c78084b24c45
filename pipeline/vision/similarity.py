"""Which pictures are copies of an earlier one: re-encoded, resized, or the same scene with nothing moved."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# Re-encoding at JPEG quality 50 moves a cell of the thumbnail by up to 4 grey levels, halving the size by 7 (90th
# percentile); a person who enters a fixed camera's view moves some cell by more than 16.
SAME_LOOK = 10
HASH_BITS = 64


def near_duplicates(hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8], bits: int) -> NDArray[np.int64]:
    """The earlier picture that each picture is a copy of, by index; -1 where it is none. N = number of pictures.

    A copy's perceptual hash is within `bits` of the original's and no cell of its thumbnail differs by more than
    `SAME_LOOK`. The second test is what keeps flat or similar scenes, whose hashes collide, and a fixed camera's
    pictures with something new in them. An original is no copy itself, so chains of small changes do not add up.

    Candidates share one of `bits` + 1 bands of the hash (pigeonhole), so pictures are compared within buckets only.

    Args:
        hashes: (N,) 64-bit perceptual hashes.
        thumbnails: (N, cells) luma, as of `quality.thumbnail`.
        bits: largest Hamming distance.
    """
    first = np.full(len(hashes), -1, np.int64)
    looks = thumbnails.astype(np.int16)
    bands = [_buckets(band) for band in _bands(hashes, bits + 1)]
    for index in _shared(bands, len(hashes)):
        if first[index] >= 0:
            continue
        later = np.unique(np.concatenate([members[starts[index] : stops[index]] for members, starts, stops in bands]))
        later = later[(later > index) & (first[later] < 0)]
        later = later[np.bitwise_count(hashes[later] ^ hashes[index]) <= bits]
        later = later[np.abs(looks[later] - looks[index]).max(axis=1, initial=0) <= SAME_LOOK]
        first[later] = index
    return first


Buckets = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _bands(hashes: NDArray[np.uint64], count: int) -> Iterator[NDArray[np.uint64]]:
    """The hashes cut into `count` runs of neighbouring bits."""
    edges = np.linspace(0, HASH_BITS, count + 1).astype(int).tolist()
    for low, high in pairwise(edges):
        mask = np.uint64((1 << (high - low)) - 1)
        yield (hashes >> np.uint64(low)) & mask


def _buckets(band: NDArray[np.uint64]) -> Buckets:
    """Indices ordered by value, and for each index where the run of its value starts and stops."""
    members = np.argsort(band, kind="stable")
    ordered = band[members]
    return members, np.searchsorted(ordered, band, "left"), np.searchsorted(ordered, band, "right")


def _shared(bands: list[Buckets], count: int) -> NDArray[np.int64]:
    """Indices, ascending, that share a bucket with another."""
    shared = np.zeros(count, np.bool_)
    for _, starts, stops in bands:
        shared |= stops - starts > 1
    return np.flatnonzero(shared)
