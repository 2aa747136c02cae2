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

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.fft
import torch
from jaxtyping import Float, Int

from gtzan_stream.dsp import safe
from gtzan_stream.dsp.backend import CPU_TENSOR, backend, for_rows
from gtzan_stream.dsp.stft import BLOCK_FRAMES
from gtzan_stream.shapes import Features, Waveform

RowKernel = Callable[[np.ndarray, np.ndarray], None]
"""A function ``kernel(samples, out)`` that fills `out` [mel, frame] from `samples` [time]; see `row_kernel`."""


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
    frames = waveform.unfold(1, len(window), hop_length) * window.to(waveform.dtype)  # [batch, frame, n_fft]
    spectrum = torch.fft.rfft(frames).contiguous()  # the spectrum of a strided waveform is not contiguous
    if name == "triton":
        from gtzan_stream.kernels import triton_mel

        out = waveform.new_empty(len(waveform), len(bands.starts), frames.shape[1])
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


def _log_mel_rows(
    waveform: torch.Tensor,
    window: torch.Tensor,
    bands: Bands,
    hop_length: int,
    power: float,
    compression: LogCompression,
) -> torch.Tensor:
    """`log_mel` by numba, one row on each core."""
    kernel = row_kernel(window, bands, hop_length=hop_length, power=power, compression=compression)
    kernel = kernel or _scipy_row_kernel(window, bands, hop_length, power, compression)
    n_frames = 1 + (waveform.shape[1] - len(window)) // hop_length
    out = waveform.new_empty(len(waveform), len(bands.starts), n_frames)
    rows, results = waveform.numpy(), out.numpy()
    for_rows(lambda i: kernel(rows[i], results[i]), len(waveform))
    return out


def row_kernel(
    window: Float[torch.Tensor, "n_fft"],
    bands: Bands,
    *,
    hop_length: int,
    power: float,
    compression: LogCompression,
) -> RowKernel | None:
    """Make a function that computes the log-mel spectrogram of one row of samples, by vectors of frames.

    Parameters
    ----------
    window, bands, hop_length, power, compression
        As in `log_mel`. The function keeps their present values.

    Returns
    -------
    callable or None
        ``kernel(samples, out)`` fills `out` [mel, frame], contiguous float32, from `samples` [time], int16 or float32.
        Any number of threads may call it. It takes a few microseconds with the GIL; the arithmetic is without it, and
        without torch. int16 samples give the same bits as float32 samples of the same numbers / 32768, and as `log_mel`
        of a batch. A wrong type raises TypeError, a wrong shape ValueError.

        None where there is no such function: the tensors are not on the CPU, this CPU has no vectors that work (see
        `gtzan_stream.kernels.lanes`), `power` is neither 1 nor 2, or n_fft is odd, below 32, above 2**15 or has a prime
        factor above 5. `log_mel` then uses scipy's FFT.
    """
    if backend(CPU_TENSOR) != "numba" or window.device.type != "cpu" or power not in (1, 2):
        return None
    from gtzan_stream.kernels.lanes import lanes

    if not lanes():
        return None
    from gtzan_stream.kernels.lanes_mel import row_function

    band_arrays = (tensor.numpy() for tensor in bands)
    scale, gain, floor = compression
    return row_function(
        window.numpy(), *band_arrays, hop=hop_length, is_power=power == 2, gain=gain, floor=floor, scale=scale
    )


def _scipy_row_kernel(
    window: torch.Tensor, bands: Bands, hop_length: int, power: float, compression: LogCompression
) -> RowKernel:
    """Make the same function for all settings, but only for float32 samples, with scipy's FFT."""
    from gtzan_stream.kernels import numba_mel, numba_stft

    window_array, band_arrays = window.numpy(), tuple(tensor.numpy() for tensor in bands)
    scale, gain, floor = (np.float32(number) for number in compression)

    def kernel(samples: np.ndarray, out: np.ndarray) -> None:
        n_frames = out.shape[1]
        frames = np.empty((min(BLOCK_FRAMES, n_frames), len(window_array)), np.float32)
        for first in range(0, n_frames, BLOCK_FRAMES):
            block = frames[: min(BLOCK_FRAMES, n_frames - first)]
            numba_stft.cut_frames(samples, window_array, hop_length, first * hop_length, block)
            spectrum = scipy.fft.rfft(block, workers=1)
            result = out[:, first : first + len(block)]
            numba_mel.mel(spectrum, *band_arrays, np.float32(power), gain, floor, scale, result)

    return kernel
