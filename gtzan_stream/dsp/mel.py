"""Log-mel spectrograms: FFT, magnitudes, mel bands, logarithm.

    S[k, t]   = |rfft(window * frame t)[k]| ** power           frames without padding, all inside the waveform
    mel[m, t] = sum over k of basis[m, k] * S[k, t]
    out[m, t] = scale * log(1 + gain * mel[m, t])              or scale * log(max(mel[m, t], floor))

The basis is stored as runs of bins (`gtzan_stream.dsp.mel_bands`).

``log(1 + x)`` of a quiet band loses its digits when 1 + x is rounded: at x = 1e-8 float32 gives log(1) = 0. The
kernels, which have no log1p, add back what rounding took. With y = 1 + x as rounded, x - (y - 1) is exactly the
rounding error, and log(1 + x) = log(y) + (x - (y - 1)) / y to first order.

The spectrum is [batch, frame, freq], a frame's bins side by side as the FFT leaves them; the output is
[batch, mel, frame], as networks take it.
"""

import torch
from jaxtyping import Float

from gtzan_stream.dsp import safe
from gtzan_stream.dsp.backend import backend
from gtzan_stream.dsp.fft import windowed_rfft
from gtzan_stream.dsp.mel_bands import Bands, LogCompression
from gtzan_stream.dsp.mel_rows import log_mel_rows
from gtzan_stream.shapes import Features, Waveform


def log_mel(
    waveform: Waveform,
    window: Float[torch.Tensor, "n_fft"],
    bands: Bands,
    *,
    hop_length: int,
    power: float,
    compression: LogCompression,
) -> Features:
    """Compute the log-mel spectrogram of the frames that are wholly inside the waveform.

    Parameters
    ----------
    waveform : Tensor [batch, time], float32 or float64
        At least `n_fft` samples.
    window : Tensor [n_fft]
        Multiplies each frame.
    bands : Bands
        The mel basis.
    hop_length : int
        Samples from one frame to the next.
    power : float
        Exponent of the magnitudes.
    compression : LogCompression
        Logarithm to take of the bands.

    Returns
    -------
    Tensor [batch, mel, 1 + (time - n_fft) // hop_length]
        On the CPU a row is the same, bit for bit, in any batch.
    """
    name = backend(waveform)
    if name == "numba":
        return log_mel_rows(waveform, window, bands, hop_length, power, compression)
    spectrum = windowed_rfft(waveform, window.to(waveform.dtype), hop_length)  # [batch, frame, freq]
    if name == "triton":
        from gtzan_stream.kernels import triton_mel

        out = waveform.new_empty(len(waveform), len(bands.starts), spectrum.shape[1])
        triton_mel.mel(spectrum, *bands, power, compression.gain, compression.floor, compression.scale, out)
        return out
    return compress(_sum_bands(safe.power(spectrum.abs(), power), bands), compression).transpose(1, 2)


def _sum_bands(magnitude: torch.Tensor, bands: Bands) -> torch.Tensor:
    """Sum the bands of [batch, frame, freq] to [batch, frame, mel], the i-th bin of all bands at once."""
    starts, _, weights = bands
    total = magnitude.new_zeros(*magnitude.shape[:2], len(starts))
    for i in range(weights.shape[1]):
        bins = (starts + i).clamp(max=magnitude.shape[2] - 1)  # beyond the last bin the weight is 0
        total = total + weights[:, i].to(magnitude.dtype) * magnitude[:, :, bins]
    return total


def compress(mel: torch.Tensor, compression: LogCompression) -> torch.Tensor:
    """Take the logarithm of mel bands of any shape."""
    scale, gain, floor = compression
    return scale * (torch.log1p(gain * mel) if gain > 0 else mel.clamp(min=floor).log())
