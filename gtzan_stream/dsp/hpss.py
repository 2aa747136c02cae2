"""Harmonic-percussive separation by median filtering."""

import numpy as np
import torch

from gtzan_stream.dsp import safe
from gtzan_stream.dsp.backend import backend, for_rows
from gtzan_stream.dsp.median import median_filter
from gtzan_stream.dsp.stft import istft, stft
from gtzan_stream.shapes import Waveform


def percussive(
    waveform: Waveform, *, n_fft: int = 2048, kernel_size: int = 31, power: float = 2.0, margin: float = 1.0
) -> Waveform:
    """Keep the percussive part of each example, by median-filtering harmonic-percussive separation.

    Equal to ``librosa.effects.percussive`` with the same arguments: sustained tones are smooth along time and clicks
    along frequency, so each bin is weighed by the median along frequency against the median along time.

    Parameters
    ----------
    waveform : Tensor [batch, time], float32 or float64
        Samples, full scale at +/-1. Not modified.
    n_fft : int, divisible by 4
        Samples per STFT frame; the hop is ``n_fft // 4``.
    kernel_size : int, odd
        Median length, in frames along time and in bins along frequency.
    power : float
        Exponent of the soft mask, positive.
    margin : float
        How much the percussive part must exceed the harmonic one, at least 1.

    Returns
    -------
    Tensor [batch, time]
        Same length, dtype and device.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    References
    ----------
    .. [1] D. FitzGerald, "Harmonic/percussive separation using median filtering", DAFx 2010.
    .. [2] J. Driedger, M. Mueller, S. Disch, "Extending harmonic-percussive separation of audio", ISMIR 2014.

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
    magnitude = spectrogram.abs()
    along_frequency = median_filter(magnitude, kernel_size, axis=1)
    along_time = median_filter(magnitude, kernel_size, axis=2)
    empty = 0.5 if margin == 1 else 0.0
    if name == "triton":
        from gtzan_stream.kernels import triton_hpss

        frames, rival, share = (t.transpose(1, 2) for t in (spectrogram, along_time, along_frequency))
        masked = triton_hpss.mask(frames.contiguous(), share, rival, float(power), float(margin), empty)
        return istft(masked.transpose(1, 2), waveform.shape[1], n_fft // 4)
    mask = _soft_mask(along_frequency, margin * along_time, power, empty)
    return istft(spectrogram * mask, waveform.shape[1], n_fft // 4)


def _soft_mask(x: torch.Tensor, rival: torch.Tensor, power: float, empty: float) -> torch.Tensor:
    """Share of `x` in x^power + rival^power, safe from underflow, and `empty` where both are 0: librosa's softmask."""
    larger = torch.maximum(x, rival)
    nothing = larger < torch.finfo(x.dtype).tiny
    scale = torch.where(nothing, 1.0, larger)
    x, rival = safe.power(x / scale, power), safe.power(rival / scale, power)
    return safe.ratio(x, x + rival, ~nothing, empty)


def _percussive_rows(waveform: torch.Tensor, n_fft: int, kernel_size: int, power: float, margin: float) -> torch.Tensor:
    from gtzan_stream.kernels import numba_hpss, numba_median

    out = torch.empty_like(waveform)

    def row(i: int) -> None:
        spectrogram = stft(waveform[i : i + 1], n_fft, n_fft // 4)
        frames = spectrogram[0].T.numpy()  # [frame, freq], contiguous
        magnitude, along_time, along_frequency = (np.empty(frames.shape, np.float32) for _ in range(3))
        numba_hpss.magnitude(frames, magnitude)
        numba_median.median_columns(magnitude, kernel_size, along_time)
        numba_median.median_columns(magnitude.T, kernel_size, along_frequency.T)
        empty = np.float32(0.5 if margin == 1 else 0.0)
        numba_hpss.mask(frames, along_frequency, along_time, np.float32(power), np.float32(margin), empty)
        out[i] = istft(spectrogram, waveform.shape[1], n_fft // 4)[0]

    for_rows(row, len(waveform))
    return out
