"""Which pictures are copies of an earlier one: re-encoded, resized, or the same scene with nothing moved."""

import numpy as np
from numpy.typing import NDArray

from pipeline.core.hashes import bands

# Re-encoding at JPEG quality 50 moves a cell of the thumbnail by up to 4 grey levels, halving the size by 7 (90th
# percentile); a person who enters a fixed camera's view moves some cell by more than 16.
SAME_LOOK = 10


def near_duplicates(hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8], bits: int) -> NDArray[np.int64]:
    """The earlier picture that each picture is a copy of, by index; -1 where it is none. N = number of pictures.

    A copy's perceptual hash is within `bits` of the original's and no cell of its thumbnail differs by more than
    `SAME_LOOK`. The second test is what keeps flat or similar scenes, whose hashes collide, and a fixed camera's
    pictures with something new in them. An original is no copy itself, so chains of small changes do not add up.

    Pictures are compared within the buckets of `hashes.bands` only.

    Args:
        hashes: (N,) 64-bit perceptual hashes.
        thumbnails: (N, cells) luma, as of `quality.thumbnail`.
        bits: largest Hamming distance.
    """
    first = np.full(len(hashes), -1, np.int64)
    looks = thumbnails.astype(np.int16)
    buckets = [_buckets(band) for band in bands(hashes, bits)]
    for index in _shared(buckets, len(hashes)):
        if first[index] >= 0:
            continue
        later = np.unique(np.concatenate([members[starts[index] : stops[index]] for members, starts, stops in buckets]))
        later = later[(later > index) & (first[later] < 0)]
        later = later[np.bitwise_count(hashes[later] ^ hashes[index]) <= bits]
        later = later[np.abs(looks[later] - looks[index]).max(axis=1, initial=0) <= SAME_LOOK]
        first[later] = index
    return first


Buckets = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _buckets(band: NDArray[np.uint64]) -> Buckets:
    """Indices ordered by value, and for each index where the run of its value starts and stops."""
    members = np.argsort(band, kind="stable")
    ordered = band[members]
    return members, np.searchsorted(ordered, band, "left"), np.searchsorted(ordered, band, "right")


def _shared(buckets: list[Buckets], count: int) -> NDArray[np.int64]:
    """Indices, ascending, that share a bucket with another."""
    shared = np.zeros(count, np.bool_)
    for _, starts, stops in buckets:
        shared |= stops - starts > 1
    return np.flatnonzero(shared)
