"""Time stretch: change the tempo and keep the pitch, with a rate for each example.

There are two methods:

- ``"locked"``, in `gtzan_stream.dsp.locked`: keeps the level and the attacks;
- ``"vocoder"``, in `gtzan_stream.dsp.vocoder`: librosa's phase vocoder, sample for sample. It is about 3 dB quieter
  than its input, and attacks lose nearly half of their contrast.
"""

from functools import partial
from types import ModuleType

import numpy as np
from jaxtyping import Float
from torch import Tensor

from gtzan_stream.dsp import locked, vocoder
from gtzan_stream.dsp.backend import backend, fill_rows
from gtzan_stream.dsp.parameters import per_example
from gtzan_stream.shapes import Waveform
from gtzan_stream.words import short_repr

METHODS = {"locked": locked, "vocoder": vocoder}
"""Modules by method: each has `source`, `stretch_batch` and `stretch_row`."""


def time_stretch(
    waveform: Waveform,
    rate: np.ndarray | float,
    length: int,
    *,
    offset: np.ndarray | float | None = None,
    method: str = "locked",
) -> Float[Tensor, "batch {length}"]:
    """Change the tempo of each example by its own rate and keep its pitch.

    Output sample ``o`` corresponds to input time ``offset + o * rate`` and is zero where that is outside the input.

    Parameters
    ----------
    waveform : Tensor [batch, time], float32 or float64
        Samples, full scale at +/-1. Not modified.
    rate : array [batch] or number, above 0
        Above 1 is faster.
    length : int
        Output samples.
    offset : array [batch] or number, samples, optional
        Input time of output sample 0, by default 0. With `before` of `source`, the output has no edge effects.
    method : {"locked", "vocoder"}
        With "vocoder" and offset 0, the first ``round(time / rate)`` samples are
        ``librosa.effects.time_stretch(waveform, rate=rate)`` and the rest are zero.

    Returns
    -------
    Tensor [batch, length]
        Same dtype and device.

    Raises
    ------
    ValueError
        If the number of rates is neither 1 nor `batch`, a rate is not above zero, or there is no such method.

    Examples
    --------
    >>> import torch
    >>> tone = torch.sin(2 * torch.pi * 441 / 22050 * torch.arange(22050.0))
    >>> faster = time_stretch(tone[None], 2.0, 11025)[0]
    >>> peak = torch.fft.rfft(faster).abs().argmax().item()
    >>> f"{peak * 22050 / 11025:.0f} Hz in {len(faster) / 22050} s"
    '440 Hz in 0.5 s'
    """
    batch = len(waveform)
    rate = per_example(rate, batch, "rate")
    offset = per_example(offset, batch, "offset", positive=False)
    if not batch:
        return waveform.new_empty(0, length)
    if backend(waveform) == "numba":
        return fill_rows(partial(stretch_row, method=method), waveform, length, rate, offset)
    bounds = _output_bounds(waveform.shape[1], rate, offset)
    return _module(method).stretch_batch(waveform, rate, offset, bounds, length)


def source(length: int | np.ndarray, rate: np.ndarray, *, method: str = "locked") -> tuple[np.ndarray, np.ndarray]:
    """Compute which input samples `time_stretch` needs so that the output has no edge effects.

    Parameters
    ----------
    length : int or array [batch]
        Output samples wanted.
    rate : array [batch]
    method : {"locked", "vocoder"}

    Returns
    -------
    before : int64 array [batch]
        Samples needed before the input time of output sample 0. Pass it to `time_stretch` as `offset`.
    total : int64 array [batch]
        Samples needed in all.
    """
    return _module(method).source(length, rate)


def stretch_row(samples: np.ndarray, rate: float, offset: float, output: np.ndarray, *, method: str = "locked") -> None:
    """Fill `output` [length] with the stretched `samples` [time], float32, on this thread."""
    _module(method).stretch_row(samples, rate, offset, output)
    ((first, after),) = _output_bounds(len(samples), np.array([rate]), np.array([offset]))
    output[: max(first, 0)] = 0
    output[max(after, 0) :] = 0


def check_method(method: str) -> None:
    """Raise ValueError if there is no such method."""
    if method not in METHODS:
        raise ValueError(f"method: expected {' or '.join(METHODS)}, got {short_repr(method)}")


def _module(method: str) -> ModuleType:
    check_method(method)
    return METHODS[method]


def _output_bounds(time: int, rate: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return the first output sample inside the waveform, in input time, and the first one after: int64 [batch, 2]."""
    return np.stack([np.ceil(-offset / rate), np.rint((time - offset) / rate)], axis=1).astype(np.int64)
