"""Loaders can be closed, and cannot be copied or pickled."""

import copy
import gc
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gtzan_stream.batch_maker import BatchMaker
from gtzan_stream.dsp import backend
from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader
from gtzan_stream.threads import cores


def test_a_closed_loader_has_no_threads_and_raises_when_iterated(shards):
    before = set(threading.enumerate())
    with Loader(shards, batch_size=8, num_workers=cores() + 1) as loader:
        evaluation = loader.evaluation()
        iterator = iter(loader)
        next(iterator)
        next(iter(evaluation))
        started = set(threading.enumerate()) - before
        names = {thread.name.rpartition("_")[0] for thread in started}
        assert names >= {"gtzan-stream-prefetch", "gtzan-stream-row"}
    for thread in started - set(backend._shared.pool._threads):
        thread.join(5)
        assert not thread.is_alive()
    for step in (lambda: next(iterator), lambda: next(iter(loader)), lambda: next(iter(evaluation))):
        with pytest.raises(UserError, match="this loader is closed: make another one"):
            step()
    loader.close()


def test_no_batch_is_made_after_closing(shards, monkeypatch):
    """Two batches had begun then."""
    make, made, both, closed = BatchMaker.make_batch, [], threading.Barrier(3), threading.Event()

    def waiting(*arguments, **options):
        made.append(index := arguments[2])
        if index > 0:
            both.wait(60)
            closed.wait(60)
        return make(*arguments, **options)

    monkeypatch.setattr(BatchMaker, "make_batch", waiting)
    loader = Loader(shards, batch_size=8, augment="none", on_error="skip")
    iterator = iter(loader)
    next(iterator)  # this requests three more batches
    both.wait(60)
    loader.close()
    closed.set()
    loader._maker.prefetch_executor.shutdown(wait=True)
    assert sorted(made) == [0, 1, 2]
    iterator.close()
    loader = Loader(shards, augment="none", on_error="skip", num_workers=0)
    loader.close()
    with pytest.raises(UserError, match="this loader is closed"):
        next(iter(loader))


@pytest.mark.parametrize("moment", ["before it is started", "before it is read", "after it is made"])
def test_closing_a_loader_ends_the_wait_for_a_batch_with_an_error(shards, monkeypatch, moment):
    make, started, closed = BatchMaker.make_batch, threading.Event(), threading.Event()

    def wait():
        started.set()
        closed.wait(60)

    def waiting(*arguments, **options):
        if moment == "before it is read":
            wait()
        made = make(*arguments, **options)
        if moment == "after it is made":
            wait()
        return made

    monkeypatch.setattr(BatchMaker, "make_batch", waiting)
    loader = Loader(shards, batch_size=8, augment="none")
    if moment == "before it is started":
        for _ in range(2):  # as if batches of an evaluation were being made
            loader._maker.prefetch_executor.submit(wait)
    with ThreadPoolExecutor(1) as pool:
        batch = pool.submit(next, iter(loader))
        assert started.wait(60)
        while not loader._maker.prefetch_executor._work_queue.qsize():
            time.sleep(0.01)
        loader.close()
        closed.set()
        with pytest.raises(UserError, match="this loader is closed"):
            batch.result(60)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_closed_at_its_last_batch_ends_and_earlier_raises(shards, num_workers):
    loader = Loader(shards, batch_size=8, num_workers=num_workers)
    batches = list(loader)
    loader = Loader(shards, batch_size=8, num_workers=num_workers)
    for number, _batch in enumerate(loader, 1):
        if number == len(loader):
            loader.close()
    assert number == len(batches)
    loader = Loader(shards, batch_size=8, num_workers=num_workers)
    iterator = iter(loader)
    batch = next(iterator)
    loader._maker.close()  # as if another thread closed it between two batches
    with pytest.raises(UserError, match="closed"):
        list(iterator)
    with pytest.raises(UserError, match="closed"):
        loader.unaugmented(batch)


def test_closing_closes_a_transform_made_by_name_but_not_one_passed_in(shards):
    from gtzan_stream.augment import Audiomentations
    from tests.audio_functions import louder
    from tests.conftest import need

    need("audiomentations")

    transform = Audiomentations(louder, num_workers=1)
    with Loader(shards, augment=transform, batch_size=4) as loader:
        next(iter(loader))
    (worker,) = transform._workers._started
    assert not worker.has_ended()
    transform.close()
    with Loader(shards, augment="audiomentations", batch_size=8) as loader:
        next(iter(loader))
        workers = list(loader.transform._workers._started)
        assert workers
    assert all(worker.has_ended() for worker in workers)
    assert not loader._maker._reader._shards._open


def test_a_loader_cannot_be_copied_and_survives_the_attempt(shards):
    loader = Loader(shards, batch_size=8, num_workers=0)
    first = next(iter(loader))
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        for value in (loader, loader.evaluation(), {"loader": loader}):
            if attempt is copy.copy and isinstance(value, dict):
                continue
            with pytest.raises(UserError, match="cannot be copied or pickled"):
                attempt(value)
    gc.collect()
    assert next(iter(loader)).keys == first.keys


def test_closing_an_evaluation_leaves_the_loader_open(shards):
    loader = Loader(shards, batch_size=8)
    with loader.evaluation() as evaluation:
        next(iter(evaluation))
    assert next(iter(loader)).keys
    with pytest.raises(UserError, match="closed"):
        next(iter(evaluation))
