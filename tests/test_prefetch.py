"""Prefetched items come in order, errors come after the items before them, and no thread waits for itself."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from gtzan_stream.prefetch import prefetch


@pytest.fixture
def executor():
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.mark.parametrize("n", [0, 1, 3, 100])
def test_items_come_in_order_from_another_thread(executor, n):
    items = ((i, threading.get_ident()) for i in range(n))
    ahead = list(prefetch(items, 3, executor))
    assert [i for i, _ in ahead] == list(range(n))
    assert len({thread for _, thread in ahead} | {threading.get_ident()}) == min(n, 1) + 1


def test_no_more_than_depth_items_are_made_ahead(executor):
    made = []
    ahead = prefetch((made.append(i) for i in count()), 3, executor)
    for _ in range(5):
        next(ahead)
    executor.submit(int).result()  # waits until all requested items are made
    assert len(made) == 8
    ahead.close()


def test_an_error_comes_after_the_items_before_it(executor):
    def items():
        yield 1
        yield 2
        raise KeyError("here")

    ahead = prefetch(items(), 3, executor)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(KeyError, match="here"):
        next(ahead)
    assert list(prefetch(iter("ab"), 3, executor)) == ["a", "b"]


def test_nothing_more_is_made_once_it_is_closed(executor):
    made, closed = [], threading.Event()
    ahead = prefetch((made.append(i) for i in count()), 3, executor)
    next(ahead)  # this requests items 0 to 3
    executor.submit(closed.wait, 20)
    for _ in range(3):
        next(ahead)  # this requests items 4 to 6, which wait for the thread
    ahead.close()
    closed.set()
    executor.submit(int).result(20)  # wait for all requested items
    assert len(made) == 4


def test_the_generator_may_be_garbage_collected_in_the_executors_thread(executor):
    dropped = threading.Event()

    def items():
        yield 1
        dropped.wait(20)
        gc.collect()
        yield 2

    circle = {"ahead": prefetch(items(), 3, executor)}
    circle["itself"] = circle
    next(circle["ahead"])
    gc.disable()  # so that only the thread collects it
    try:
        del circle
        dropped.set()
        assert executor.submit(int).result(20) == 0
    finally:
        gc.enable()
