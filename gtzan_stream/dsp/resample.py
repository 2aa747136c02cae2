"""Band-limited resampling at any ratio, with a ratio for each example.

Output sample o corresponds to input time ``position = offset + o * rate``, between input samples. It is the sum of the
input samples n around it, weighted by a low-pass filter that is centred there:

    y[o] = sum over n of x[n] * h(n - position)
    h(d) = c * sinc(c d) * kaiser(c d / ZERO_CROSSINGS)     sinc(x) = sin(pi x) / (pi x); 0 for |c d| >= ZERO_CROSSINGS
    c    = ROLLOFF * min(1, 1 / rate)                       cutoff, as a share of the input's Nyquist frequency

A rate above 1 lowers the Nyquist frequency of the output, in terms of the input, to 1 / rate. The cutoff follows it, so
that nothing folds back. The sum covers ``half_width = ceil(ZERO_CROSSINGS / c)`` samples on each side: 32 at rates up
to 1, and 64 at rate 2.

Rates are real numbers and differ between examples, so the polyphase filters of a ratio of small integers do not apply.
Evaluating sinc and Kaiser window for each product would cost more than the product. So the numba kernel makes a table
of the row's own filters for 256 fractions of a sample, from one side of h at cutoff 1 (`prototype`), and interpolates
between two of them: its inner loop then reads memory in order and vectorises. The Triton kernel fits polynomials in the
fraction of a sample, one for each tap of a row. The plain torch version evaluates h, and is the reference.
"""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from gtzan_stream.dsp.backend import backend, fill_rows
from gtzan_stream.dsp.parameters import per_example, to_device
from gtzan_stream.shapes import Waveform

ZERO_CROSSINGS = 29
"""Zero crossings of the sinc on each side."""
ROLLOFF = 0.92
"""Cutoff (-6 dB), as a share of N, the lower of the two Nyquist frequencies; the stop band begins at N."""
KAISER_BETA = 8.0
"""Shape of the Kaiser window: 80 dB of attenuation in the stop band."""
POINTS_PER_CROSSING = 512
"""Points of the tabulated filter for each zero crossing; linear interpolation is then wrong by 2e-6 at most."""


def resample(
    waveform: Waveform, rate: np.ndarray | float, length: int, *, offset: np.ndarray | float | None = None
) -> Float[Tensor, "batch {length}"]:
    """Play each example at its own rate: output sample ``o`` is the band-limited input at time ``offset + o * rate``.

    The response is flat up to 0.8 N and 80 dB down above N, the lower of the two Nyquist frequencies.

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
        If the number of rates is neither 1 nor `batch`, or a rate is not above zero.

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
    parameters = to_device(np.stack([rate, offset, cutoff(rate), half_width(rate)]), waveform.device)
    max_half_width = int(half_width(rate).max(initial=1))
    if backend(waveform) == "triton":
        from gtzan_stream.kernels import triton_resample

        return triton_resample.resample(waveform.contiguous(), parameters, ZERO_CROSSINGS, max_half_width, length)
    return _resample_torch(waveform, parameters, max_half_width, length)


def source(length: int | np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute which input samples `resample` needs so that the output has no edge effects.

    That is `half_width` samples on each side of the ``length * rate`` samples that the output covers.

    Parameters
    ----------
    length : int or array [batch]
        Output samples wanted.
    rate : array [batch]

    Returns
    -------
    before : int64 array [batch]
        Samples needed before the input time of output sample 0. Pass it to `resample` as `offset`.
    total : int64 array [batch]
        Samples needed in all.
    """
    before = half_width(np.asarray(rate))
    return before, 2 * before + np.ceil(np.asarray(length) * np.asarray(rate)).astype(np.int64)


def cutoff(rate: np.ndarray) -> np.ndarray:
    """Compute the filter's cutoff, as a share of the input's Nyquist frequency."""
    return ROLLOFF * np.minimum(1.0, 1.0 / rate)


def half_width(rate: np.ndarray) -> np.ndarray:
    """Count the input samples that the filter covers on each side of an output sample's time."""
    return np.ceil(ZERO_CROSSINGS / cutoff(rate)).astype(np.int64)


def _resample_torch(waveform: Tensor, parameters: Tensor, max_half_width: int, length: int) -> Tensor:
    """`resample` in plain torch: one tap of all filters at a time."""
    time = waveform.shape[1]
    rates, offsets, cutoffs = parameters[:3, :, None]
    position = offsets + rates * torch.arange(length, dtype=torch.float64, device=waveform.device)  # [batch, length]
    left = position.floor()
    fraction = (position - left).to(waveform.dtype)
    cutoffs = cutoffs.to(waveform.dtype)
    padded = functional.pad(waveform, (0, 1))  # padded[:, time] is 0
    total = torch.zeros_like(fraction)
    for tap in range(1 - max_half_width, max_half_width + 1):
        index = left.long() + tap
        sample = padded.gather(1, torch.where((index < 0) | (index > time), time, index))
        total += sample * _impulse_response(tap - fraction, cutoffs)
    return total


def _impulse_response(delay: Tensor, cutoff: Tensor) -> Tensor:
    """Evaluate the filter h at `delay`, in input samples."""
    crossings = delay * cutoff
    radius = (1 - (crossings / ZERO_CROSSINGS).square()).clamp(min=0).sqrt()
    kaiser = torch.special.i0(KAISER_BETA * radius) / float(np.i0(KAISER_BETA))
    return torch.where(crossings.abs() < ZERO_CROSSINGS, cutoff * torch.sinc(crossings) * kaiser, 0.0)


@cache
def prototype() -> np.ndarray:
    """Tabulate one side of the filter at cutoff 1: h(i / POINTS_PER_CROSSING); the last two points are 0."""
    crossings = np.arange(ZERO_CROSSINGS * POINTS_PER_CROSSING + 2) / POINTS_PER_CROSSING
    radius = np.sqrt(np.maximum(1 - (crossings / ZERO_CROSSINGS) ** 2, 0))
    kaiser = np.i0(KAISER_BETA * radius) / np.i0(KAISER_BETA)
    return np.where(crossings < ZERO_CROSSINGS, np.sinc(crossings) * kaiser, 0.0)


def resample_row(waveform: np.ndarray, rate: float, offset: float, output: np.ndarray) -> None:
    """Fill `output` [length] with the resampled `waveform` [time] on this thread."""
    from gtzan_stream.kernels import numba_resample

    rates = np.array([rate])
    width = int(half_width(rates)[0])
    table = numba_resample.tabulate_filters(prototype(), POINTS_PER_CROSSING, float(cutoff(rates)[0]), width)
    numba_resample.apply_filters(waveform, table, width, rate, offset, output)
