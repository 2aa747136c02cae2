"""Scratch arrays are used again, and by one block at a time."""

import threading

import numpy as np
import pytest

from gtzan_stream.dsp import scratch
from gtzan_stream.dsp.scratch import borrowed


@pytest.mark.parametrize(("n", "dtype"), [(0, np.float32), (1, np.int16), (66_048, np.int16), (1000, np.complex64)])
def test_an_array_has_the_size_and_type_asked_for_and_is_aligned(n: int, dtype: type):
    with borrowed(n, dtype) as array:
        assert (array.shape, array.dtype) == ((n,), dtype)
        assert array.ctypes.data % 64 == 0 or not n
        array[:] = 1


def test_nested_blocks_get_memory_of_their_own():
    with borrowed(1000, np.float32) as outer:
        outer[:] = 1
        for n in (10, 1000, 5000):
            with borrowed(n, np.float32) as inner, borrowed(n, np.int16) as innermost:
                inner[:], innermost[:] = 2, 3
                assert (inner == 2).all()
        assert (outer == 1).all()


def test_memory_is_used_again_also_after_an_error():
    def address(n: int) -> int:
        with borrowed(n, np.float32) as array:
            return array.ctypes.data

    first = address(10_000)
    with pytest.raises(ValueError, match="broken"), borrowed(500, np.int16):
        raise ValueError("broken")
    assert address(10_000) == address(1) == first
    assert address(100_000) == address(100_000)  # made larger once


def test_the_memory_of_a_long_clip_is_not_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scratch, "_thread", threading.local())
    for n_bytes in (1000, scratch.KEPT_BYTES + 1):
        with borrowed(n_bytes, np.uint8):
            pass
    assert sum(map(len, scratch._thread.free)) <= scratch.KEPT_BYTES


def test_threads_do_not_share_memory():
    addresses = []

    def borrow() -> None:
        with borrowed(1000, np.float32) as array:
            addresses.append(array.ctypes.data)
            both.wait(20)

    both = threading.Barrier(2)
    threads = [threading.Thread(target=borrow) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(set(addresses)) == 2
