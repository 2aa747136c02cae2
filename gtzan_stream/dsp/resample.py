"""Band-limited resampling at any ratio, with a ratio for each example.

Output samples are sums of input samples under a Kaiser-windowed sinc. Its cutoff follows the ratio, so that nothing
above the new Nyquist frequency folds back.
"""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from gtzan_stream.dsp.backend import backend, fill_rows
from gtzan_stream.dsp.parameters import cuda_stream_id, per_example, to_device
from gtzan_stream.shapes import Waveform

ZEROS = 29
"""Zero crossings of the sinc on each side."""
ROLLOFF = 0.92
"""Cutoff, -6 dB, as a share of the lower of the two Nyquist frequencies: the stop band begins at that frequency."""
BETA = 8.0
"""Of the Kaiser window: 80 dB down in the stop band."""
PER_CROSSING = 512
"""Points of the tabulated filter for each zero crossing: interpolated linearly, it is 2e-6 off at most."""


def resample(
    waveform: Waveform, rate: np.ndarray | float, length: int, *, offset: np.ndarray | float | None = None
) -> Float[Tensor, "batch {length}"]:
    """Play each example at its own rate: output sample ``o`` is the input, band-limited, at ``offset + o * rate``.

    Flat up to 0.8 of the lower Nyquist frequency, 80 dB down above it.

    Parameters
    ----------
    waveform : Tensor [batch, time], float32 or float64
        Samples, full scale at +/-1; zero beyond its ends. Not modified.
    rate : array [batch] or number, above 0
        Input samples per output sample: above 1 is faster and higher.
    length : int
        Output samples.
    offset : array [batch] or number, samples, optional
        Input time of output sample 0, by default 0.

    Returns
    -------
    Tensor [batch, length]
        Same dtype and device.

    Raises
    ------
    ValueError
        If there is not one rate for each example, or a rate is not above zero.

    References
    ----------
    .. [1] J. O. Smith, "Digital audio resampling", https://ccrma.stanford.edu/~jos/resample/.

    Examples
    --------
    >>> tone = torch.sin(2 * torch.pi * 440 / 22050 * torch.arange(22050.0))
    >>> octave = resample(tone[None], 2.0, 11025)[0]
    >>> peak = torch.fft.rfft(octave).abs().argmax().item()
    >>> f"{peak * 22050 / 11025:.0f} Hz"
    '880 Hz'
    """
    batch = len(waveform)
    rate = per_example(rate, batch, "rate")
    offset = per_example(offset, batch, "offset", positive=False)
    if backend(waveform) == "numba":
        return fill_rows(resample_row, waveform, length, rate, offset)
    parameters = to_device(np.stack([rate, offset, cutoff(rate), reach(rate)]), waveform.device)
    if backend(waveform) == "triton":
        from gtzan_stream.kernels import triton_resample

        points = _prototype_on(waveform.device, cuda_stream_id(waveform.device))
        return triton_resample.resample(waveform.contiguous(), points, parameters, PER_CROSSING, length)
    return _plain(waveform, parameters, int(reach(rate).max(initial=1)), length)


def source(length: int | np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell which input samples `resample` needs so that the output has no edge effects.

    Parameters
    ----------
    length : int or array [batch]
        Output samples wanted.
    rate : array [batch]

    Returns
    -------
    before : int64 array [batch]
        Samples needed before the input time of output sample 0; give it to `resample` as `offset`.
    total : int64 array [batch]
        Samples needed in all.
    """
    before = reach(np.asarray(rate))
    return before, 2 * before + np.ceil(np.asarray(length) * np.asarray(rate)).astype(np.int64)


def cutoff(rate: np.ndarray) -> np.ndarray:
    """Give the filter's cutoff, as a share of the input's Nyquist frequency."""
    return ROLLOFF * np.minimum(1.0, 1.0 / rate)


def reach(rate: np.ndarray) -> np.ndarray:
    """Count the input samples on each side of an output sample's time that it is made of."""
    return np.ceil(ZEROS / cutoff(rate)).astype(np.int64)


def _plain(waveform: Tensor, parameters: Tensor, widest: int, length: int) -> Tensor:
    time = waveform.shape[1]
    rates, offsets, cutoffs = parameters[:3, :, None]
    instant = offsets + rates * torch.arange(length, dtype=torch.float64, device=waveform.device)  # [batch, length]
    left = instant.floor()
    fraction = (instant - left).to(waveform.dtype)
    cutoffs = cutoffs.to(waveform.dtype)
    padded = functional.pad(waveform, (0, 1))  # index `time` is silence
    total = torch.zeros_like(fraction)
    for tap in range(1 - widest, widest + 1):
        index = left.long() + tap
        sample = padded.gather(1, torch.where((index < 0) | (index > time), time, index))
        total += sample * _kernel(tap - fraction, cutoffs)
    return total


def _kernel(delay: Tensor, cutoff: Tensor) -> Tensor:
    """Evaluate the low-pass filter's impulse response at `delay`, in input samples."""
    crossings = delay * cutoff
    bell = torch.special.i0(BETA * (1 - (crossings / ZEROS).square()).clamp(min=0).sqrt()) / float(np.i0(BETA))
    return torch.where(crossings.abs() < ZEROS, cutoff * torch.sinc(crossings) * bell, 0.0)


@cache
def prototype() -> np.ndarray:
    """Tabulate one side of the filter at cutoff 1, `PER_CROSSING` points a zero crossing; its last two are zero."""
    crossings = np.arange(ZEROS * PER_CROSSING + 2) / PER_CROSSING
    bell = np.i0(BETA * np.sqrt(np.maximum(1 - (crossings / ZEROS) ** 2, 0))) / np.i0(BETA)
    return np.where(crossings < ZEROS, np.sinc(crossings) * bell, 0.0)


@cache
@torch.inference_mode(mode=False)
def _prototype_on(device: torch.device, stream: int) -> Tensor:
    return to_device(prototype().astype(np.float32), device)


def resample_row(waveform: np.ndarray, rate: float, offset: float, output: np.ndarray) -> None:
    """Fill `output` [length] with the resampled `waveform` [time] on this thread."""
    from gtzan_stream.kernels import numba_resample

    rates = np.array([rate])
    width = int(reach(rates)[0])
    table = numba_resample.filters(prototype(), PER_CROSSING, float(cutoff(rates)[0]), width)
    numba_resample.convolve(waveform, table, width, rate, offset, output)
