"""Choose an implementation by device, and share the rows of a batch over threads.

Each function of `dsp` exists in up to three versions. `backend` chooses one by the tensor:

| version | for | how |
|---|---|---|
| numba | float32 on the CPU | one row on one core, rows in parallel (`for_rows`): a row is the same in every batch |
| triton | float32 on CUDA | the whole batch in one launch |
| torch | everything else | the reference: float64, gradients, torch.compile and export, or numba or Triton missing |

Triton compiles kernels when they are first launched, for which it needs a C compiler and a folder that it can write. So
the first tensor on each GPU launches a trial kernel. If that fails, torch is used there, with a warning.

**Threads.** One pool, with a thread for each core, serves all callers that bring none; kernels release the GIL. Threads
take rows one at a time from a shared counter, as rows may need different times. A call from a thread of a pool computes
its rows in that thread: if it waited for the pool, all threads could be waiting for each other.

**Modes of torch.** inference_mode, no_grad and autocast are properties of a thread, so `for_rows` enters the caller's
modes in the threads of the pool.
"""

import functools
import importlib
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import numpy as np
import torch

from gtzan_stream.errors import first_line
from gtzan_stream.threads import cores, fork_safe_lock, thread_pool

Backend = Literal["torch", "numba", "triton"]

_log = logging.getLogger(__name__)
_trials: dict[torch.device, bool] = {}  # whether Triton works, for each GPU where it was tried
_trial_lock = fork_safe_lock()
_forced: list[Backend] = []  # names from nested `force` blocks, the innermost last
_thread = threading.local()  # has `in_pool = True` in the threads of the pool


def backend(tensor: torch.Tensor) -> Backend:
    """Choose the implementation for `tensor`: numba for float32 on the CPU, Triton for float32 on CUDA, else torch.

    Torch also computes whatever needs gradients or is traced by torch.compile or torch.export, and everything where
    numba or Triton is not installed or does not work.

    Raises
    ------
    ValueError
        If `force` asks for a backend that cannot work on `tensor`.

    Examples
    --------
    >>> with force("torch"):
    ...     backend(torch.zeros(2, 8))
    'torch'
    >>> backend(torch.zeros(2, 8, dtype=torch.float64))
    'torch'
    """
    if torch.compiler.is_compiling():
        return "torch"
    usable = _usable_backends(tensor)
    if not _forced:
        return usable[0]
    if _forced[-1] not in usable:
        where = f"{tensor.dtype} tensor on {tensor.device}"
        raise ValueError(f"backend {_forced[-1]!r} cannot work on a {where}: use one of {', '.join(usable)}")
    return _forced[-1]


def _usable_backends(tensor: torch.Tensor) -> list[Backend]:
    """List the backends that can work on `tensor`, the preferred one first."""
    names: list[Backend] = ["torch"]
    is_plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)  # fake tensors, used in tracing, have no data
    if tensor.dtype != torch.float32 or tensor.requires_grad or not is_plain:
        return names
    return _usable_kernels(tensor.device)


def _usable_kernels(device: torch.device) -> list[Backend]:
    """List the backends that can work on plain float32 tensors on `device`, the preferred one first."""
    names: list[Backend] = ["torch"]
    if device.type == "cuda" and is_importable("triton") and _triton_works(device):
        names.insert(0, "triton")
    if device.type == "cpu":
        if os.environ.get("TRITON_INTERPRET") == "1" and is_importable("triton"):
            names.append("triton")
        if is_importable("numba"):
            names.insert(0, "numba")
    return names


def _triton_works(device: torch.device) -> bool:
    """Return whether Triton can launch kernels on a GPU. The first call finds out, and logs a warning if it cannot."""
    works = _trials.get(device)  # nearly every call ends here, without the lock
    if works is not None:
        return works
    with _trial_lock:
        if device not in _trials:
            from gtzan_stream.kernels import triton_trial

            try:
                triton_trial.launch(device)
            except Exception as error:
                _trials[device] = False
                _log.warning(
                    "Triton cannot run kernels on %s (%s): plain torch computes transforms and features there, which "
                    "is slower; Triton needs a C compiler, such as gcc, and a folder that it can write, which "
                    "TRITON_CACHE_DIR may name",
                    device,
                    first_line(error),
                )
            else:
                _trials[device] = True
        return _trials[device]


def numba_on_host() -> bool:
    """Return whether numba computes what always runs on the host: draws and the order of an epoch.

    That depends neither on the device of the waveforms nor on `force`.
    """
    return is_importable("numba") and not torch.compiler.is_compiling()


@contextmanager
def force(name: Backend) -> Iterator[None]:
    """Make every operation on tensors use the backend `name` until the block ends, for tests and benchmarks.

    It holds in all threads. Draws are made on the host as before (`numba_on_host`).
    With ``TRITON_INTERPRET=1`` in the environment, Triton works on CPU tensors too.
    """
    _forced.append(name)
    try:
        yield
    finally:
        _forced.pop()


@functools.cache
def is_importable(module: str) -> bool:
    """Return whether `module` can be imported."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


class RowThreads:
    """Threads for `for_rows`.

    Parameters
    ----------
    n : int
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.pool = thread_pool(n, "gtzan-stream-row", _init_thread)

    def close(self) -> None:
        """End the threads when they have done what they are doing."""
        self.pool.shutdown(wait=False, cancel_futures=True)


def for_rows(function: Callable[[int], object], n_rows: int, threads: RowThreads | None = None) -> None:
    """Call ``function(i)`` for every row ``0 <= i < n_rows``, in parallel: by default in a thread for each core.

    The function should spend its time outside the GIL (numpy, scipy.fft, numba with ``nogil``) and write to its own row
    only. Calls may be nested: an inner call computes its rows in the thread it is in.

    Raises
    ------
    Exception
        The exception of a row, once all rows already begun have ended; no other row is begun.
    """
    threads = threads or _shared
    n_threads = min(threads.n, n_rows)
    if n_threads <= 1 or getattr(_thread, "in_pool", False):
        for i in range(n_rows):
            function(i)
        return
    rows = itertools.count()  # shared by the threads: next() is atomic
    failed = threading.Event()
    modes = _torch_modes()

    def work() -> None:
        with modes():
            work_on_rows()

    def work_on_rows() -> None:
        while not failed.is_set() and (i := next(rows)) < n_rows:
            try:
                function(i)
            except BaseException:
                failed.set()
                raise

    futures = [threads.pool.submit(work) for _ in range(n_threads)]
    first: BaseException | None = None
    for future in futures:  # `concurrent.futures.wait` would wait forever for one that a shutdown has cancelled
        try:
            error = future.exception()
        except CancelledError:
            error = RuntimeError("the threads were closed while they computed rows")
        first = first or error
    if first:
        raise first


def _torch_modes() -> Callable[[], AbstractContextManager[object]]:
    """Record the calling thread's torch modes, and return a context manager that enters them in another thread."""
    inference, grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    autocast, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    @contextmanager
    def modes() -> Iterator[None]:
        with torch.inference_mode(inference), torch.set_grad_enabled(grad):
            if not autocast:  # as in every new thread; entering it takes longer than all else here
                yield
                return
            with torch.autocast("cpu", dtype):
                yield

    return modes


def fill_rows(
    function: Callable[..., object], waveform: torch.Tensor, length: int, *parameters: np.ndarray
) -> torch.Tensor:
    """Compute each row of a batch on its own, in parallel.

    Row i is ``function(waveform[i], *(values[i] for values in parameters), out[i])``.

    Parameters
    ----------
    function : callable
        Takes a row's samples (array [time]), its parameters (numbers) and its output (array [length]), which it fills.
    waveform : Tensor [batch, time], on the CPU
    length : int
        Output samples.
    parameters : arrays [batch]

    Returns
    -------
    Tensor [batch, length]
    """
    out = waveform.new_empty(len(waveform), length)
    rows, results = waveform.contiguous().numpy(), out.numpy()
    for_rows(lambda i: function(rows[i], *(values[i].item() for values in parameters), results[i]), len(rows))
    return out


def _init_thread() -> None:
    _thread.in_pool = True


_shared = RowThreads(cores())
