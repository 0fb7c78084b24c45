"""Map over shards of work in processes; the results' order, and so the bytes, do not depend on how many."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
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


def map_ahead(work: Callable[[T], R], items: Iterable[T], ahead: int, workers: int = 0) -> Iterator[R]:
    """Results in the order of `items`, made in threads while the caller is busy with those before.

    For work that leaves Python's lock free (NumPy, OpenCV) on values too large to send to a process. `items` are drawn
    in this thread, at most `ahead` before they are asked for. `workers` 0 means one a core. An exception in a thread is
    raised here.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
