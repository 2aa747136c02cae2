"""Choosing an implementation, and the thread pool that computes rows."""

import multiprocessing
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from gtzan_stream.augment import Draw, Percussive, PitchShift, SpeedPerturb, TimeStretch, Transform
from gtzan_stream.dsp import backend as module
from gtzan_stream.dsp.backend import RowThreads, backend, for_rows, force
from gtzan_stream.dsp.stft import hann, stft
from tests.augment_cases import keys, music
from tests.conftest import need


def test_numba_is_used_for_float32_on_the_cpu_only():
    assert backend(torch.zeros(1)) == "numba"
    assert backend(torch.zeros(1, dtype=torch.float64)) == "torch"
    assert backend(torch.zeros(1, dtype=torch.bfloat16)) == "torch"


def test_torch_is_used_where_gradients_are_needed():
    leaf = music(3, 6000)[:, :4096].clone().requires_grad_()
    assert backend(leaf) == "torch"
    for transform in (TimeStretch(0.8, 1.2), PitchShift(-3.0, 3.0), SpeedPerturb(0.8, 1.2), Percussive()):
        out = transform(leaf, ["a", "b", "c"])
        (gradient,) = torch.autograd.grad(out.square().sum(), leaf)
        assert gradient.isfinite().all()
        assert gradient.abs().sum(1).min() > 0
        torch.testing.assert_close(out.detach(), transform(leaf.detach(), ["a", "b", "c"]), rtol=0, atol=2e-4)


def test_a_window_cached_in_inference_mode_can_be_used_in_training():
    with torch.inference_mode():
        hann(54, torch.float64, torch.device("cpu"))
    leaf = torch.randn(1, 500, dtype=torch.float64, requires_grad=True)
    stft(leaf, n_fft=54, hop_length=9).abs().sum().backward()
    assert leaf.grad is not None


def test_triton_is_used_on_cuda(cuda):
    assert backend(torch.zeros(1, device=cuda)) == "triton"


def test_torch_is_used_without_numba_and_triton(monkeypatch):
    monkeypatch.setattr(module, "is_importable", lambda name: False)
    assert backend(torch.zeros(1)) == "torch"


def test_a_missing_module_is_not_importable():
    assert not module.is_importable("gtzan_stream_has_no_such_module")


def test_force_nests_and_ends_with_its_block():
    with force("torch"):
        with force("numba"):
            assert backend(torch.zeros(1)) == "numba"
        assert backend(torch.zeros(1)) == "torch"
    assert backend(torch.zeros(1)) == "numba"


def test_forcing_an_unusable_backend_is_an_error(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with force("triton"), pytest.raises(ValueError, match=r"'triton' cannot work on a torch\.float32 tensor on cpu"):
        backend(torch.zeros(1))


def test_triton_can_be_forced_on_the_cpu_in_its_interpreter(monkeypatch):
    need("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert backend(torch.zeros(1)) == "numba"
    with force("triton"):
        assert backend(torch.zeros(1)) == "triton"


@pytest.mark.parametrize("n_rows", [0, 1, 2, 7, 1000])
def test_every_row_is_called_once(n_rows):
    called = []
    for_rows(called.append, n_rows)
    assert sorted(called) == list(range(n_rows))


def test_rows_run_at_the_same_time(monkeypatch):
    monkeypatch.setattr(module, "_shared", RowThreads(2))
    for n in (2, 5):
        meeting = threading.Barrier(n, timeout=20)
        for_rows(lambda i, meeting=meeting: meeting.wait(), n, None if n == 2 else RowThreads(n))


def test_rows_are_computed_in_the_threads_that_are_passed_in_until_these_are_closed():
    threads = RowThreads(3)
    names = set()
    for_rows(lambda i: names.add(threading.current_thread()), 200, threads)
    assert names <= set(threads.pool._threads)
    threads.close()
    for thread in names:
        thread.join(20)
        assert not thread.is_alive()


def test_rows_that_wait_for_threads_that_are_closed_raise():
    threads, busy = RowThreads(2), threading.Event()
    others = [threads.pool.submit(busy.wait, 20) for _ in range(2)]
    with ThreadPoolExecutor(1) as caller:
        waiting = caller.submit(for_rows, str, 9, threads)
        while threads.pool._work_queue.qsize() < 2:
            time.sleep(0.001)
        threads.close()
        with pytest.raises(RuntimeError, match="the threads were closed"):
            waiting.result(20)
        assert not others[0].done()
        busy.set()


def test_nested_calls_do_not_deadlock():
    called = []
    for_rows(lambda i: for_rows(lambda j: for_rows(lambda k: called.append((i, j, k)), 3), 5), 8)
    assert len(set(called)) == len(called) == 8 * 5 * 3


def test_many_callers_share_the_pool():
    called = []
    callers = [threading.Thread(target=for_rows, args=(called.append, 50)) for _ in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
        assert not caller.is_alive()
    assert sorted(called) == sorted(list(range(50)) * 16)


@pytest.mark.parametrize("n_rows", [1, 100])
def test_an_exception_reaches_the_caller_and_the_pool_still_works(n_rows):
    def fail(i: int) -> None:
        raise KeyError("row")

    with pytest.raises(KeyError, match="row"):
        for_rows(fail, n_rows)
    called = []
    for_rows(called.append, 4)
    assert sorted(called) == [0, 1, 2, 3]


def test_rows_that_have_not_started_are_skipped_after_an_exception(monkeypatch):
    monkeypatch.setattr(module, "_shared", RowThreads(2))
    called = []

    def work(i: int) -> None:
        called.append(i)
        if i == 0:
            raise KeyError("row")
        time.sleep(0.002)

    with pytest.raises(KeyError, match="row"):
        for_rows(work, 1000)
    assert len(called) < 1000


FORKED = """
import multiprocessing
from gtzan_stream.dsp.backend import for_rows
from gtzan_stream.threads import fork_safe_lock
def child(queue):
    rows = []
    for_rows(rows.append, 6)
    with lock:
        queue.put(sorted(rows))
lock = fork_safe_lock()
lock.__enter__()  # the parent holds it when it forks
for_rows(id, 6)  # starts the parent's pool before the fork
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=child, args=(queue,))
process.start()
assert queue.get(timeout=60) == [0, 1, 2, 3, 4, 5]
process.join(30)
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
def test_a_forked_child_gets_its_own_pool_and_locks():
    subprocess.run([sys.executable, "-c", FORKED], check=True, timeout=100)


class Convolution(Transform):
    """A transform with a parameter; autocast computes its convolution in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv1d(1, 1, 9, padding=4)

    def compute(self, waveform: torch.Tensor, draw: Draw, length: int | None) -> torch.Tensor:
        return self.layer(waveform[:, None])[:, 0].float()[:, :length]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rows_are_computed_in_the_modes_of_the_caller(dtype: torch.dtype) -> None:
    """Torch's modes are per thread, and rows are computed in other threads."""
    transform, waveform = Convolution(), music(3, 4000)
    with torch.no_grad():
        assert not transform(waveform).requires_grad
    with torch.no_grad(), torch.autocast("cpu", dtype):
        together = transform(waveform, keys(3))
        for row in range(3):
            assert torch.equal(transform(waveform[row : row + 1], keys(3)[row : row + 1])[0], together[row])
    with torch.no_grad():
        assert not torch.equal(transform(waveform, keys(3)), together)
