"""Map over shards of work in processes; the results' order, and so the bytes, do not depend on how many."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_ordered(work: Callable[[T], R], items: Sequence[T], workers: int = 0) -> Iterator[R]:
    """Results in the order of `items`. `workers` 0 means one a core; 1 stays in this process.

    `work` and its items must be picklable; an exception in a worker is raised here.
    """
    count = min(workers or len(os.sched_getaffinity(0)), len(items))
    if count <= 1:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, items)
