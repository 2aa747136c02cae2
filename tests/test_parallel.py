"""`map_in_order` keeps the order, computes a bounded number of results ahead, and uses the requested threads."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from gtzan_stream.store import parallel
from gtzan_stream.store.index import index
from gtzan_stream.store.pack import pack
from gtzan_stream.store.verify import verify
from tests.test_store_index import sound, write


@pytest.mark.parametrize("num_workers", [1, 3])
def test_results_come_in_order_and_a_bounded_number_is_computed_ahead(num_workers: int):
    started: list[int] = []
    first = Event()

    def items():
        for item in range(50):
            started.append(item)
            if item == 2 * num_workers:
                first.set()  # let the first result finish after those behind it
            yield item

    def square(item: int) -> int:
        assert item or first.wait(20)
        return item * item

    for done, result in enumerate(parallel.map_in_order(square, items(), num_workers), 1):
        assert result == (done - 1) ** 2
        assert len(started) <= done + 2 * num_workers
    assert done == 50


def test_an_error_is_raised_after_the_results_before_it():
    results = parallel.map_in_order(lambda item: 6 // item, [3, 2, 0, 1], 2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_pack_index_and_verify_use_the_requested_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every pool that they create has that size."""
    requested: list[int] = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, num_workers: int) -> None:
            requested.append(num_workers)
            super().__init__(num_workers)

    (tmp_path / "music/rock").mkdir(parents=True)
    (tmp_path / "music/rock/1.wav").write_bytes(sound())
    write(tmp_path / "foreign/x.tar", [{"__key__": "rock_1", "wav": sound()}])
    monkeypatch.setattr(parallel, "ThreadPoolExecutor", Pool)
    manifest = pack(tmp_path / "music", tmp_path / "packed", num_workers=3)
    assert set(requested) == {3}
    for work in (lambda: index(tmp_path / "foreign", num_workers=3), lambda: verify(manifest, num_workers=3)):
        requested.clear()
        work()
        assert requested == [3]
