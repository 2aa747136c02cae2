"""Log-mel spectrograms by FFT, with the bins of each band summed where they lie."""

from typing import NamedTuple

import numpy as np
import scipy.fft
import torch
from jaxtyping import Float, Int

from gtzan_stream.dsp import safe
from gtzan_stream.dsp.backend import backend, for_rows
from gtzan_stream.dsp.stft import BLOCK
from gtzan_stream.shapes import Features, Waveform


class Bands(NamedTuple):
    """A mel basis as runs of neighbouring bins: band m is bins ``starts[m] .. starts[m] + widths[m] - 1``."""

    starts: Int[torch.Tensor, "mel"]
    widths: Int[torch.Tensor, "mel"]
    weights: Float[torch.Tensor, "mel widest"]


class Compression(NamedTuple):
    """``scale * log(1 + gain * m)`` of a band m where `gain` is positive, else ``scale * log(max(m, floor))``."""

    scale: float
    gain: float
    floor: float


def bands(basis: Float[torch.Tensor, "mel freq"]) -> Bands:
    """Find the run of bins of each band of a mel basis.

    Raises
    ------
    ValueError
        If a band has no bin at all.

    Examples
    --------
    >>> bands(torch.tensor([[0.5, 1.0, 0.5, 0.0], [0.0, 0.0, 0.5, 1.0]])).starts
    tensor([0, 2], dtype=torch.int32)
    """
    used = basis != 0
    empty = torch.nonzero(~used.any(1)).flatten().tolist()
    if empty:
        raise ValueError(f"mel bands {empty} hold no frequency bin: take fewer mels or a longer n_fft")
    starts = used.int().argmax(1)
    widths = basis.shape[1] - used.flip(1).int().argmax(1) - starts
    place = torch.arange(int(widths.max()))
    inside = place < widths[:, None]
    weights = basis.gather(1, (starts[:, None] + place).clamp(max=basis.shape[1] - 1)) * inside
    return Bands(starts.int(), widths.int(), weights.contiguous())


def log_mel(
    waveform: Waveform,
    window: Float[torch.Tensor, "n_fft"],
    bands: Bands,
    *,
    hop_length: int,
    power: float,
    compression: Compression,
) -> Features:
    """Log-mel spectrogram of frames that lie wholly inside the waveform.

    Parameters
    ----------
    waveform : Tensor [batch, time], float32 or float64
        At least one window long.
    window : Tensor [n_fft]
        Multiplies each frame.
    bands : Bands
        The mel basis.
    hop_length : int
        Samples from one frame to the next.
    power : float
        Exponent of the magnitudes.
    compression : Compression
        What becomes of the bands.

    Returns
    -------
    Tensor [batch, mel, 1 + (time - n_fft) // hop_length]
        On the CPU a row is the same, bit for bit, in any batch.
    """
    name = backend(waveform)
    if name == "numba":
        return _log_mel_rows(waveform, window, bands, hop_length, power, compression)
    frames = waveform.unfold(1, len(window), hop_length) * window.to(waveform.dtype)  # [batch, frame, n_fft]
    spectrum = torch.fft.rfft(frames).contiguous()  # of a transposed waveform it would not be
    if name == "triton":
        from gtzan_stream.kernels import triton_mel

        out = waveform.new_empty(len(waveform), len(bands.starts), frames.shape[1])
        triton_mel.mel(spectrum, *bands, power, compression.gain, compression.floor, compression.scale, out)
        return out
    return compress(_sum_bands(safe.power(spectrum.abs(), power), bands), compression).transpose(1, 2)


def _sum_bands(magnitude: torch.Tensor, bands: Bands) -> torch.Tensor:
    """Bands of [batch, frame, freq], without a matrix product: that might be in TF32, as the process is set."""
    starts, _, weights = bands
    total = magnitude.new_zeros(*magnitude.shape[:2], len(starts))
    for k in range(weights.shape[1]):
        place = (starts + k).clamp(max=magnitude.shape[2] - 1)
        total = total + weights[:, k].to(magnitude.dtype) * magnitude[:, :, place]
    return total


def compress(mel: torch.Tensor, compression: Compression) -> torch.Tensor:
    """Apply `compression` to mel bands of any shape."""
    scale, gain, floor = compression
    return scale * (torch.log1p(gain * mel) if gain > 0 else mel.clamp(min=floor).log())


def _log_mel_rows(
    waveform: torch.Tensor, window: torch.Tensor, bands: Bands, hop_length: int, power: float, compression: Compression
) -> torch.Tensor:
    from gtzan_stream.kernels import numba_mel

    n_fft, n_frames = len(window), 1 + (waveform.shape[1] - len(window)) // hop_length
    out = waveform.new_empty(len(waveform), len(bands.starts), n_frames)
    rows, results, taper = waveform.numpy(), out.numpy(), window.numpy()
    runs = tuple(t.numpy() for t in bands)
    scale, gain, floor = (np.float32(x) for x in compression)

    def row(i: int) -> None:
        frames = np.empty((min(BLOCK, n_frames), n_fft), np.float32)
        for first in range(0, n_frames, BLOCK):
            block = frames[: min(BLOCK, n_frames - first)]
            numba_mel.cut(rows[i], taper, hop_length, first, block)
            spectrum = scipy.fft.rfft(block, workers=1)
            result = results[i, :, first : first + len(block)]
            numba_mel.mel(spectrum, *runs, np.float32(power), gain, floor, scale, result)

    for_rows(row, len(waveform))
    return out
