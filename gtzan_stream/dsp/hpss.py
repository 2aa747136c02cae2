"""Harmonic-percussive separation by median filtering: the percussive part of a waveform.

In the magnitudes S[k, t] of an STFT, a sustained tone is a line along time and a click a line along frequency. A median
filter along an axis keeps the lines along it and removes those across it:

    H = median of S along time         the harmonic estimate
    P = median of S along frequency    the percussive estimate
    mask = P^power / (P^power + (margin * H)^power)

The output is the inverse STFT of ``mask * X``, so it has the phases of the input. With a margin above 1, what is not
clearly percussive is left out: the harmonic and the percussive part then no longer add up to the input [2]_. Where P
and H are both 0, the mask is 1/2 if the margin is 1 (the two parts add up to the input), else 0, as in librosa.

P and H are divided by the larger of the two before they are raised to `power`, so that quiet bins do not underflow.

An output sample depends on the input up to ``n_fft + kernel_size // 2 * hop`` samples away: half a frame for each of
STFT and inverse, and half a median in between. By default that is 9,728 samples. A segment that starts at a multiple of
the hop and is read with that many samples on each side gives the same output as the whole clip.

Spectrograms have the shape [batch, freq, frame] and the memory layout [batch, frame, freq] (see `stft`). numba computes
one row on each core: with power 2 in lanes of frames (`kernels.lanes_hpss`), else in place. Triton computes magnitudes,
medians and mask of all rows in four launches.

References
----------
.. [1] D. FitzGerald, "Harmonic/percussive separation using median filtering", DAFx 2010.
.. [2] J. Driedger, M. Mueller, S. Disch, "Extending harmonic-percussive separation of audio", ISMIR 2014.
"""

import math
from functools import lru_cache

import numpy as np
import torch

from gtzan_stream.dsp import safe
from gtzan_stream.dsp.backend import backend, for_rows
from gtzan_stream.dsp.fft import empty_spectrum
from gtzan_stream.dsp.median import median_filter
from gtzan_stream.dsp.scratch import borrowed
from gtzan_stream.dsp.stft import hann_array, istft, istft_row, stft, stft_row
from gtzan_stream.shapes import Waveform


def percussive(
    waveform: Waveform, *, n_fft: int = 2048, kernel_size: int = 31, power: float = 2.0, margin: float = 1.0
) -> Waveform:
    """Compute the percussive part of each example, as ``librosa.effects.percussive`` does with the same arguments.

    Parameters
    ----------
    waveform : Tensor [batch, time], float32 or float64
        Samples, full scale at +/-1. Not modified.
    n_fft : int, divisible by 4
        Samples per STFT frame; the hop is ``n_fft // 4``.
    kernel_size : int, odd
        Median length, in frames along time and in bins along frequency.
    power : float
        Exponent of the soft mask, positive: 1 is gentle, infinity would be a binary mask.
    margin : float
        Factor by which the percussive estimate must exceed the harmonic one, at least 1.

    Returns
    -------
    Tensor [batch, time]
        Same length, dtype and device.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> tone = 0.5 * torch.sin(2 * torch.pi * 440 / 22050 * torch.arange(44100.0))
    >>> level = 20 * torch.log10(percussive(tone[None])[0, 11025:33075].std() / tone.std())
    >>> bool(level < -30)  # dB
    True
    """
    if n_fft < 4 or n_fft % 4:
        raise ValueError(f"n_fft must be positive and divisible by 4, got {n_fft}")
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and positive, got {kernel_size}")
    if not power > 0:
        raise ValueError(f"power must be positive, got {power}")
    if not margin >= 1:
        raise ValueError(f"margin must be at least 1, got {margin}")
    if waveform.shape[1] == 0:
        return waveform.clone()
    name = backend(waveform)
    if name == "numba":
        return _percussive_rows(waveform, n_fft, kernel_size, power, margin)
    spectrogram = stft(waveform, n_fft, n_fft // 4)
    silent_mask = 0.5 if margin == 1 else 0.0
    if name == "triton":
        masked = _masked_triton(spectrogram.transpose(1, 2).contiguous(), kernel_size, power, margin, silent_mask)
        return istft(masked.transpose(1, 2), waveform.shape[1], n_fft // 4)
    magnitude = spectrogram.abs()
    percussive_part = median_filter(magnitude, kernel_size, axis=1)
    harmonic_part = median_filter(magnitude, kernel_size, axis=2)
    mask = _soft_mask(percussive_part, margin * harmonic_part, power, silent_mask)
    return istft(spectrogram * mask, waveform.shape[1], n_fft // 4)


def _soft_mask(p: torch.Tensor, h: torch.Tensor, power: float, silent_mask: float) -> torch.Tensor:
    """Compute ``p^power / (p^power + h^power)``, and `silent_mask` where both are 0: librosa's softmask."""
    larger = torch.maximum(p, h)
    silent = larger < torch.finfo(p.dtype).tiny
    scale = torch.where(silent, 1.0, larger)
    p, h = safe.power(p / scale, power), safe.power(h / scale, power)
    return safe.divide(p, p + h, ~silent, silent_mask)


def _masked_triton(
    frames: torch.Tensor, kernel_size: int, power: float, margin: float, silent_mask: float
) -> torch.Tensor:
    """Multiply contiguous [batch, frame, freq] by its percussive mask, on a GPU."""
    from gtzan_stream.kernels import triton_hpss, triton_median

    magnitude, transposed = triton_hpss.magnitudes(frames)
    percussive_part, harmonic_part = torch.empty_like(magnitude), torch.empty_like(magnitude)
    triton_median.median_columns(transposed, kernel_size, percussive_part.transpose(1, 2))
    triton_median.median_columns(magnitude, kernel_size, harmonic_part)
    out = empty_spectrum(frames.shape, frames)
    triton_hpss.mask(frames, percussive_part, harmonic_part, float(power), float(margin), silent_mask, out)
    return out


def _percussive_rows(waveform: torch.Tensor, n_fft: int, kernel_size: int, power: float, margin: float) -> torch.Tensor:
    """`percussive` by numba, one row on each core."""
    rows, out = waveform.contiguous().numpy(), np.empty(waveform.shape, np.float32)
    for_rows(
        lambda i: percussive_row(rows[i], out[i], n_fft=n_fft, kernel_size=kernel_size, power=power, margin=margin),
        len(rows),
    )
    return torch.from_numpy(out)


def percussive_row(
    samples: np.ndarray,
    out: np.ndarray,
    *,
    before: int = 0,
    n_fft: int = 2048,
    kernel_size: int = 31,
    power: float = 2.0,
    margin: float = 1.0,
) -> None:
    """Fill `out` with a piece of the percussive part of one row, on this thread.

    Parameters
    ----------
    samples : float32 [time]
    out : float32, contiguous
        Gets as many samples of the percussive part, from sample `before` on. They equal those of the whole row in all
        bits. Samples outside are not computed, which saves a part of the work.
    n_fft, kernel_size, power, margin
        As in `percussive`.
    """
    from gtzan_stream.kernels.lanes import lanes

    if lanes():
        from gtzan_stream.kernels import lanes_hpss

        if lanes_hpss.can_compute(n_fft, kernel_size, power):
            with borrowed(lanes_hpss.scratch_size(len(samples), n_fft, kernel_size), np.float32) as memory:
                lanes_hpss.percussive(samples, before, _windows(n_fft), kernel_size, margin, memory, out)
            return
    with borrowed(len(samples), np.float32) as whole:
        _percussive_row(samples, whole, n_fft, kernel_size, power, margin)
        out[:] = whole[before : before + len(out)]


@lru_cache(maxsize=32)
def _windows(n_fft: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the window of the inverse STFT, and that of the STFT times 1/2, as `lanes_hpss` takes them."""
    window = hann_array(n_fft)
    return window, window * np.float32(0.5)


def _percussive_row(
    samples: np.ndarray, out: np.ndarray, n_fft: int, kernel_size: int, power: float, margin: float
) -> None:
    """Fill `out` with the percussive part of `samples`, without lanes."""
    from gtzan_stream.kernels import numba_hpss, numba_median

    shape = (1 + len(samples) // (n_fft // 4), n_fft // 2 + 1)
    size = math.prod(shape)
    with (
        borrowed(size, np.complex64) as spectrogram,
        borrowed(size, np.float32) as magnitude,
        borrowed(size, np.float32) as harmonic_part,
        borrowed(size, np.float32) as percussive_part,
    ):
        frames = spectrogram.reshape(shape)
        s, h, p = (array.reshape(shape) for array in (magnitude, harmonic_part, percussive_part))
        stft_row(samples, n_fft, n_fft // 4, frames)
        numba_hpss.magnitude(frames, s)
        numba_median.median_columns(s, kernel_size, h)
        numba_median.median_columns(s.T, kernel_size, p.T)
        silent_mask = np.float32(0.5 if margin == 1 else 0.0)
        numba_hpss.mask(frames, p, h, np.float32(power), np.float32(margin), silent_mask)
        istft_row(frames, n_fft // 4, out)
