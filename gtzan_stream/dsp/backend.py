"""The one place that picks an implementation by device, and the one thread pool that rows are shared over."""

import functools
import importlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import numpy as np
import torch

from gtzan_stream.threads import cores, threads

Backend = Literal["torch", "numba", "triton"]

CPU_TENSOR = torch.empty(0, dtype=torch.float32)
"""Stands for host arrays where a backend is picked."""

_forced: list[Backend] = []
_inside = threading.local()


def backend(tensor: torch.Tensor) -> Backend:
    """Name the implementation that works on `tensor`: numba for float32 on the CPU, Triton for float32 on CUDA.

    Everything else is for the plain torch version: what gradients flow through, what torch.compile or torch.export
    traces, and everything where numba or Triton is not installed.

    Raises
    ------
    ValueError
        If `force` names a backend that cannot work on `tensor`.

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
    usable = _usable(tensor)
    if not _forced:
        return usable[0]
    if _forced[-1] not in usable:
        where = f"{tensor.dtype} tensor on {tensor.device}"
        raise ValueError(f"backend {_forced[-1]!r} cannot work on a {where}: use one of {', '.join(usable)}")
    return _forced[-1]


def _usable(tensor: torch.Tensor) -> list[Backend]:
    """Backends that can work on `tensor`, the preferred one first."""
    names: list[Backend] = ["torch"]
    is_plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)  # and not a stand-in for tracing, without numbers
    if tensor.dtype != torch.float32 or tensor.requires_grad or not is_plain:
        return names
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if tensor.device.type == "cuda" and is_importable("triton"):
        names.insert(0, "triton")
    if tensor.device.type == "cpu":
        if interpreted and is_importable("triton"):
            names.append("triton")
        if is_importable("numba"):
            names.insert(0, "numba")
    return names


@contextmanager
def force(name: Backend) -> Iterator[None]:
    """Make every operation of the process use the backend `name` until the block ends; for tests and benchmarks.

    Triton also works on CPU tensors where the environment says ``TRITON_INTERPRET=1``.
    """
    _forced.append(name)
    try:
        yield
    finally:
        _forced.pop()


@functools.cache
def is_importable(module: str) -> bool:
    """Whether `module` can be imported here."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def for_rows(function: Callable[[int], object], n_rows: int) -> None:
    """Call ``function(i)`` for every row ``0 <= i < n_rows``, on all cores at once.

    The functions should spend their time outside the GIL (numpy, scipy.fft, numba with ``nogil``) and write to separate
    rows. One pool serves every caller; a call from inside the pool runs where it is, so that nesting cannot deadlock.

    Raises
    ------
    Exception
        The first exception of a row, after the rows already begun have ended; rows not begun are left out.
    """
    n_threads = min(cores(), n_rows)
    if n_threads <= 1 or getattr(_inside, "pool", False):
        for i in range(n_rows):
            function(i)
        return
    rows = itertools.count()  # next() on it is atomic
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

    futures = [_pool.submit(work) for _ in range(n_threads)]
    errors = [future.exception() for future in futures]
    for error in errors:
        if error is not None:
            raise error


def _torch_modes() -> Callable[[], AbstractContextManager[object]]:
    """Take down the calling thread's modes of torch, for other threads to enter: torch keeps them for each thread."""
    inference, grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    autocast, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    @contextmanager
    def modes() -> Iterator[None]:
        with torch.inference_mode(inference), torch.set_grad_enabled(grad), torch.autocast("cpu", dtype, autocast):
            yield

    return modes


def fill_rows(
    function: Callable[..., object], waveform: torch.Tensor, length: int, *parameters: np.ndarray
) -> torch.Tensor:
    """Compute each row of a batch alone, on all cores: ``function(waveform[i], *(p[i] for p in parameters), out[i])``.

    Parameters
    ----------
    function : callable
        Takes a row's samples and parameters, and fills its output, all as numpy arrays and numbers.
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
    _inside.pool = True


_pool = threads(cores(), "gtzan-stream-row", _init_thread)
