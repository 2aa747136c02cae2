"""Band-limited resampling at any ratio, with a ratio for each example.

Output sample o corresponds to input time ``position = offset + o * rate``, between input samples. It is the sum of the
input samples n around it, weighted by a low-pass filter that is centred there:

    y[o] = sum over n of x[n] * h(n - position) / sum over n of h(n - position)
    h(d) = c * sinc(c d) * window(c d / ZERO_CROSSINGS)     sinc(x) = sin(pi x) / (pi x); 0 for |c d| >= ZERO_CROSSINGS
    c    = ROLLOFF * min(1, 1 / rate)                       cutoff, as a share of the input's Nyquist frequency
    window(r) = (i0(KAISER_BETA * sqrt(1 - r^2)) - 1) / (i0(KAISER_BETA) - 1)     a Kaiser window that ends at 0

A rate above 1 lowers the Nyquist frequency of the output, in terms of the input, to 1 / rate. The cutoff follows it, so
that nothing folds back. The sum covers ``half_width = ceil(ZERO_CROSSINGS / c)`` samples on each side: 57 at rates up
to 1, and 114 at rate 2. The division keeps a constant signal constant; the sum of h differs from 1 by a few millionths,
depending on the fraction of the position. At rate 1 and a whole offset, each position is that of an input sample, which
is the result, with all frequencies.

Rates are real numbers and differ between examples, so the polyphase filters of a ratio of small integers do not apply.
Evaluating sinc and window for each product would cost more than the product. Only plain torch does that; it is the
reference. On the CPU there are two steps. The first evaluates h at the input samples and half way between them, where
its coefficients are the same each time. That is a signal u at twice the input's rate, with nothing above half of its
Nyquist frequency, so a short filter, the same at all rates, is enough to read it at any time:

    u[m] = sum over n of x[n] * h(n - m / 2)
    y[o] = sum over m of u[m] * reader(m - 2 position)      16 samples of u; see `_readers`

Each input sample costs 2 half_width multiplications, as the two sides of h are equal, and each output sample 32. White
noise differs from the reference by a millionth: that much remains of what u has around its own sampling rate, and the
reader lowers what h leaves between N and 3 N. The Triton kernels take the same two steps, with 18 samples of u for each
output sample.
"""

from functools import cache, lru_cache

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import i0
from torch import Tensor
from torch.nn import functional

from gtzan_stream.dsp.backend import backend, fill_rows
from gtzan_stream.dsp.parameters import per_example, to_device
from gtzan_stream.dsp.scratch import borrowed
from gtzan_stream.shapes import Waveform

ZERO_CROSSINGS = 54
"""Zero crossings of the sinc on each side."""
ROLLOFF = 0.9505
"""Cutoff (-6 dB), as a share of N, the lower of the two Nyquist frequencies; the stop band begins at N."""
KAISER_BETA = 8.6
"""Shape of the window: 83 dB of attenuation in the stop band."""
_FRACTIONS = 512  # of a sample of u: readers are tabulated for them, and interpolated linearly between them
_READER_BETA = 13.0  # shape of the Kaiser window of the readers


def resample(
    waveform: Waveform, rate: np.ndarray | float, length: int, *, offset: np.ndarray | float | None = None
) -> Float[Tensor, "batch {length}"]:
    """Play each example at its own rate: output sample ``o`` is the band-limited input at time ``offset + o * rate``.

    The response is flat up to 0.9 N, -1 dB at 0.93 N, and 80 dB down above N, the lower of the two Nyquist frequencies.
    A constant signal stays constant. Rate 1 with a whole offset returns the input's samples.

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
    total, weight = torch.zeros_like(fraction), torch.zeros_like(fraction)
    here = total
    for tap in range(1 - max_half_width, max_half_width + 1):
        index = left.long() + tap
        sample = padded.gather(1, torch.where((index < 0) | (index > time), time, index))
        h = _impulse_response(tap - fraction, cutoffs)
        total += sample * h
        weight += h
        if tap == 0:
            here = sample
    return torch.where((rates == 1) & (offsets == offsets.floor()), here, total / weight)


def _impulse_response(delay: Tensor, cutoff: Tensor) -> Tensor:
    """Evaluate the filter h at `delay`, in input samples."""
    crossings = delay * cutoff
    radius = (1 - (crossings / ZERO_CROSSINGS).square()).clamp(min=0).sqrt()
    window = (torch.special.i0(KAISER_BETA * radius) - 1) / float(i0(KAISER_BETA) - 1)
    return torch.where(crossings.abs() < ZERO_CROSSINGS, cutoff * torch.sinc(crossings) * window, 0.0)


def resample_row(waveform: np.ndarray, rate: float, offset: float, output: np.ndarray) -> None:
    """Fill `output` [length] with the resampled `waveform` [time] on this thread."""
    if rate == 1 and offset == np.floor(offset):
        _shift(waveform, int(offset), output)
        return
    if not waveform.flags.carray:  # strided or read-only, for which the kernel would be compiled again
        waveform = waveform.copy()
    taps = _taps(cutoff(np.array([rate])).item())
    from gtzan_stream.kernels.lanes import lanes

    if lanes():
        from gtzan_stream.kernels import lanes_resample

        with borrowed(lanes_resample.scratch_size(len(taps) // 2), np.float32) as memory:
            lanes_resample.resample(waveform, taps, _readers(), rate, offset, memory, output)
    else:
        from gtzan_stream.kernels import numba_resample

        numba_resample.resample(waveform, taps, _readers(), rate, offset, output)


def _shift(waveform: np.ndarray, start: int, output: np.ndarray) -> None:
    """Fill `output` with the samples from `start` on, and zeros beyond the ends."""
    first = min(max(-start, 0), len(output))
    end = min(max(len(waveform) - start, 0), len(output))
    output[:first], output[end:] = 0, 0
    output[first:end] = waveform[start + first : start + end]


@lru_cache(maxsize=64)
def _taps(cutoff: float) -> np.ndarray:
    """Tabulate one side of h at every half sample: float32 [2 * half_width + 1].

    Both the taps at whole samples and those between have the sum 1, counted on both sides.
    """
    crossings = cutoff / 2 * np.arange(2 * int(np.ceil(ZERO_CROSSINGS / cutoff)) + 1)
    radius = np.sqrt(np.maximum(1 - (crossings / ZERO_CROSSINGS) ** 2, 0))  # 0 from the last zero crossing on
    taps = np.sinc(crossings) * (i0(KAISER_BETA * radius) - 1)
    taps[::2] /= 2 * taps[::2].sum() - taps[0]
    taps[1::2] /= 2 * taps[1::2].sum()
    return taps.astype(np.float32)


@cache
def _readers() -> np.ndarray:
    """Tabulate the filters that read u at fractions of its samples: flat float32 [fraction, 16].

    They are sincs with a zero at every sample, under a Kaiser window: flat up to half of the Nyquist frequency of u,
    and closed from 3/2 on, where the images of that band are. Each has the sum 1.
    """
    delays = np.arange(16) - 7 - np.arange(_FRACTIONS + 1)[:, None] / _FRACTIONS
    readers = np.sinc(delays) * i0(_READER_BETA * np.sqrt(np.maximum(1 - (delays / 8) ** 2, 0)))
    return (readers / readers.sum(1, keepdims=True)).astype(np.float32).ravel()
