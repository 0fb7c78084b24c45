import os
import time

import pytest

from pipeline.core.errors import DataError
from pipeline.core.parallel import map_ahead, map_ordered


def square_slowly(number: int) -> int:
    """Later items are done first."""
    time.sleep(0.02 * (4 - number))
    return number * number


def process(_: int) -> int:
    time.sleep(0.3)  # long enough that one worker cannot do it all
    return os.getpid()


def refuse(number: int) -> int:
    if number == 2:
        raise DataError("item 2 is broken")
    return number


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(map_ordered(square_slowly, range(4), workers)) == [0, 1, 4, 9]


def test_nothing_to_do() -> None:
    assert list(map_ordered(square_slowly, [], 2)) == []


def test_one_worker_stays_in_this_process() -> None:
    assert set(map_ordered(process, range(2), 1)) == {os.getpid()}


def test_two_workers_are_two_other_processes() -> None:
    processes = set(map_ordered(process, range(8), 2))
    assert len(processes) == 2
    assert os.getpid() not in processes


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_is_raised_here(workers: int) -> None:
    with pytest.raises(DataError, match="item 2 is broken"):
        list(map_ordered(refuse, range(4), workers))


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("ahead", [0, 2, 9])
def test_threads_keep_the_order(workers: int, ahead: int) -> None:
    assert list(map_ahead(square_slowly, range(4), ahead, workers)) == [0, 1, 4, 9]


def test_threads_run_ahead_no_farther_than_asked() -> None:
    items = iter([0, 1, 3, 4, 5])
    results = map_ahead(refuse, items, 2, 1)
    assert next(results) == 0
    assert list(items) == [4, 5]


def test_an_error_in_a_thread_is_raised_here() -> None:
    with pytest.raises(DataError, match="item 2 is broken"):
        list(map_ahead(refuse, range(4), 2, 2))
