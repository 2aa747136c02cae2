"""Log-mel spectrograms: FFT, magnitudes, mel bands, logarithm.

    S[k, t]   = |rfft(window * frame t)[k]| ** power           frames without padding, all inside the waveform
    mel[m, t] = sum over k of basis[m, k] * S[k, t]
    out[m, t] = scale * log(1 + gain * mel[m, t])              or scale * log(max(mel[m, t], floor))

A mel band is a triangle over a few neighbouring bins, so 98 % of the basis [mel, freq] is zeros. It is stored as runs
(`Bands`): band m sums `widths[m]` bins from `starts[m]` on. With 128 bands and an n_fft of 1,024 that is 1,000 products
a frame instead of 65,664. It also avoids a matrix product, which CUDA might compute in TF32.

``log(1 + x)`` of a quiet band loses its digits when 1 + x is rounded: at x = 1e-8 float32 gives log(1) = 0. The
kernels, which have no log1p, add back what rounding took. With y = 1 + x as rounded, x - (y - 1) is exactly the
rounding error, and log(1 + x) = log(y) + (x - (y - 1)) / y to first order.

The spectrum is [batch, frame, freq], a frame's bins side by side as the FFT leaves them; the output is
[batch, mel, frame], as networks take it.
"""

from typing import NamedTuple

import numpy as np
import scipy.fft
import torch
from jaxtyping import Float, Int
from torch.utils.weak import WeakTensorKeyDictionary

from gtzan_stream.dsp import safe
from gtzan_stream.dsp.backend import backend, for_rows
from gtzan_stream.dsp.fft import windowed_rfft
from gtzan_stream.dsp.parameters import cuda_stream_id
from gtzan_stream.dsp.stft import BLOCK_FRAMES
from gtzan_stream.shapes import Features, Waveform


class Bands(NamedTuple):
    """A mel basis as runs of neighbouring bins.

    Band m is the sum of ``weights[m, i] * S[starts[m] + i]`` over ``0 <= i < widths[m]``. The weights of a band that is
    narrower than the widest are padded with zeros.
    """

    starts: Int[torch.Tensor, "mel"]
    widths: Int[torch.Tensor, "mel"]
    weights: Float[torch.Tensor, "mel widest"]


class LogCompression(NamedTuple):
    """Logarithm of a mel band m: ``scale * log(1 + gain * m)`` if gain > 0, else ``scale * log(max(m, floor))``.

    log10(1 + 10 m) is (1 / ln 10, 10, 0). Decibels of summed magnitudes, not below -100 dB, are (20 / ln 10, 0, 1e-5).
    """

    scale: float
    gain: float
    floor: float


def bands(basis: Float[torch.Tensor, "mel freq"]) -> Bands:
    """Store a mel basis as the run of bins of each band.

    Raises
    ------
    ValueError
        If a band has no bin.

    Examples
    --------
    >>> bands(torch.tensor([[0.5, 1.0, 0.5, 0.0], [0.0, 0.0, 0.5, 1.0]])).starts
    tensor([0, 2], dtype=torch.int32)
    """
    nonzero = basis != 0
    empty = torch.nonzero(~nonzero.any(1)).flatten().tolist()
    if empty:
        raise ValueError(f"mel bands {empty} hold no frequency bin: choose a smaller n_mels or a larger n_fft")
    starts = nonzero.int().argmax(1)
    widths = basis.shape[1] - nonzero.flip(1).int().argmax(1) - starts
    i = torch.arange(int(widths.max()))
    weights = basis.gather(1, (starts[:, None] + i).clamp(max=basis.shape[1] - 1)) * (i < widths[:, None])
    return Bands(starts.int(), widths.int(), weights.contiguous())


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
        return _log_mel_rows(waveform, window, bands, hop_length, power, compression)
    frames = waveform.unfold(1, len(window), hop_length)  # [batch, frame, n_fft]
    spectrum = windowed_rfft(frames, window.to(waveform.dtype))
    if name == "triton":
        from gtzan_stream.kernels import triton_mel

        out = waveform.new_empty(len(waveform), len(bands.starts), frames.shape[1])
        tables = bands.starts, bands.widths, _by_bin(bands.weights)
        triton_mel.mel(spectrum, *tables, power, compression.gain, compression.floor, compression.scale, out)
        return out
    return compress(_sum_bands(safe.power(spectrum.abs(), power), bands), compression).transpose(1, 2)


_transposed = WeakTensorKeyDictionary()  # weights of bands -> CUDA stream -> the same, transposed


@torch.inference_mode(mode=False)
def _by_bin(weights: torch.Tensor) -> torch.Tensor:
    """Return the weights of bands as contiguous [widest, mel], made once for each tensor and CUDA stream."""
    of_streams = _transposed.setdefault(weights, {})
    stream = cuda_stream_id(weights.device)
    if stream not in of_streams:
        of_streams[stream] = weights.T.contiguous()
    return of_streams[stream]


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


def _log_mel_rows(
    waveform: torch.Tensor,
    window: torch.Tensor,
    bands: Bands,
    hop_length: int,
    power: float,
    compression: LogCompression,
) -> torch.Tensor:
    """`log_mel` by numba and scipy, one row on each core."""
    from gtzan_stream.kernels import numba_mel, numba_stft

    n_fft, n_frames = len(window), 1 + (waveform.shape[1] - len(window)) // hop_length
    out = waveform.new_empty(len(waveform), len(bands.starts), n_frames)
    rows, results, window_array = waveform.numpy(), out.numpy(), window.numpy()
    band_arrays = tuple(t.numpy() for t in bands)
    scale, gain, floor = (np.float32(x) for x in compression)

    def row(i: int) -> None:
        frames = np.empty((min(BLOCK_FRAMES, n_frames), n_fft), np.float32)
        for first in range(0, n_frames, BLOCK_FRAMES):
            block = frames[: min(BLOCK_FRAMES, n_frames - first)]
            numba_stft.cut_frames(rows[i], window_array, hop_length, first * hop_length, block)
            spectrum = scipy.fft.rfft(block, workers=1)
            result = results[i, :, first : first + len(block)]
            numba_mel.mel(spectrum, *band_arrays, np.float32(power), gain, floor, scale, result)

    for_rows(row, len(waveform))
    return out
