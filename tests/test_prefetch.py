"""Prefetched results come in order, errors come after the results before them, and no thread waits for itself."""

import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count

import pytest

from gtzan_stream.prefetch import prefetch


@pytest.fixture(params=[1, 2])
def executor(request):
    with ThreadPoolExecutor(request.param) as executor:
        yield executor


def settle(executor: ThreadPoolExecutor) -> None:
    """Wait until all calls that were submitted have ended: each thread waits for the others."""
    together = threading.Barrier(executor._max_workers)
    for future in [executor.submit(together.wait, 20) for _ in range(executor._max_workers)]:
        future.result(20)


def appending(made: list[int]) -> Iterator[Callable[[], None]]:
    return (partial(made.append, i) for i in count())


@pytest.mark.parametrize("n", [0, 1, 3, 100])
def test_results_come_in_order_from_other_threads(executor, n):
    calls = (lambda i=i: (i, threading.get_ident()) for i in range(n))
    ahead = list(prefetch(calls, 3, executor))
    assert [i for i, _ in ahead] == list(range(n))
    threads = {thread for _, thread in ahead}
    assert threading.get_ident() not in threads
    assert bool(n) <= len(threads) <= executor._max_workers


def test_two_threads_work_at_the_same_time():
    together = threading.Barrier(2)
    with ThreadPoolExecutor(2) as executor:
        list(prefetch((partial(together.wait, 20) for _ in range(4)), 3, executor))


def test_a_late_result_is_waited_for():
    second = threading.Event()
    calls = [lambda: second.wait(20), lambda: second.set() or 2]
    with ThreadPoolExecutor(2) as executor:
        assert list(prefetch(iter(calls), 3, executor)) == [True, 2]


def test_without_an_executor_results_are_made_when_they_are_requested():
    made: list[int] = []
    ahead = prefetch(appending(made), 3, None)
    assert made == []
    next(ahead)
    next(ahead)
    assert made == [0, 1]


def test_no_more_than_depth_results_are_made_ahead(executor):
    made: list[int] = []
    ahead = prefetch(appending(made), 3, executor)
    for _ in range(5):
        next(ahead)
    settle(executor)
    assert sorted(made) == list(range(8))
    ahead.close()


def test_an_error_comes_after_the_results_before_it(executor):
    def fail():
        raise KeyError("here")

    ahead = prefetch(iter([lambda: 1, lambda: 2, fail, lambda: 3]), 3, executor)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(KeyError, match="here"):
        next(ahead)
    assert list(prefetch(map(partial, [str] * 2, "ab"), 3, executor)) == ["a", "b"]


def test_nothing_more_is_made_once_it_is_closed(executor):
    made: list[int] = []
    closed = threading.Event()
    ahead = prefetch(appending(made), 3, executor)
    next(ahead)  # this requests results 0 to 3
    settle(executor)
    for _ in range(executor._max_workers):
        executor.submit(closed.wait, 20)
    for _ in range(3):
        next(ahead)  # this requests results 4 to 6, which wait for a thread
    ahead.close()
    closed.set()
    settle(executor)
    assert sorted(made) == [0, 1, 2, 3]


def test_the_generator_may_be_garbage_collected_in_the_executors_thread(executor):
    dropped = threading.Event()

    def collect():
        dropped.wait(20)
        gc.collect()

    circle = {"ahead": prefetch(iter([int, collect]), 3, executor)}
    circle["itself"] = circle
    next(circle["ahead"])
    gc.disable()  # so that only the thread collects it
    try:
        del circle
        dropped.set()
        settle(executor)
    finally:
        gc.enable()
