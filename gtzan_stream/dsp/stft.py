"""Short-time Fourier transform with a periodic Hann window, and its inverse.

Frames are centred: with ``c = t * hop_length``, frame t covers the samples ``c - n_fft / 2`` to ``c + n_fft / 2 - 1``.
Beyond its ends the waveform continues as zeros, as in librosa's effects.

The inverse weighs each frame by the window w once more, adds the overlapping frames, and divides each sample by the
weight that it received:

    x[n] = sum over t of w[n - start(t)] * frame_t[n - start(t)]  /  sum over t of w[n - start(t)]^2

This is the least-squares inverse (Griffin and Lim, 1984), exact for an unchanged spectrogram. Near the ends fewer
frames overlap, so the divisor is summed over the frames that exist instead of being constant.

Spectrograms have the shape [batch, freq, frame] of torch and librosa, but are transposed views of [batch, frame, freq]
memory: an FFT writes a frame's bins side by side, and the phase vocoder works on all bins of a frame at once.
"""

from functools import lru_cache

import numpy as np
import scipy.fft
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from gtzan_stream.dsp.backend import backend, for_rows
from gtzan_stream.dsp.fft import unscaled_irfft, windowed_rfft
from gtzan_stream.dsp.parameters import cuda_stream_id
from gtzan_stream.dsp.scratch import borrowed
from gtzan_stream.kernels import constants
from gtzan_stream.shapes import Spectrogram, Waveform

BLOCK_FRAMES = 64
"""Frames transformed at once on the CPU: few enough to stay in a core's cache."""


def hann(n_fft: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the periodic Hann window [n_fft], cached for each dtype, device and CUDA stream."""
    return _hann(n_fft, dtype, device, cuda_stream_id(device))


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)  # a cached inference tensor could not be used in autograd later
def _hann(n_fft: int, dtype: torch.dtype, device: torch.device, stream: int) -> Tensor:
    return torch.hann_window(n_fft, dtype=torch.float64, device=device).to(dtype)


@lru_cache(maxsize=32)
def hann_array(n_fft: int) -> np.ndarray:
    """Return `hann` in float32 as an array [n_fft], for rows on the CPU."""
    return hann(n_fft, torch.float32, torch.device("cpu")).numpy()


def stft(waveform: Waveform, n_fft: int = 2048, hop_length: int = 512) -> Spectrogram:
    """Compute the centred STFT of each example, with zeros beyond its ends.

    Parameters
    ----------
    waveform : Tensor [batch, time], float32 or float64
    n_fft : int
        Samples per frame, even.
    hop_length : int
        Samples from one frame's centre to the next's.

    Returns
    -------
    Tensor [batch, n_fft // 2 + 1, 1 + time // hop_length], complex
        Equal to ``librosa.stft(waveform, n_fft=n_fft, hop_length=hop_length)``. A transposed view: in memory the bins
        of a frame are side by side.

    Examples
    --------
    >>> tone = torch.sin(2 * torch.pi * 440 / 22050 * torch.arange(22050.0))
    >>> peak = stft(tone[None]).abs()[0, :, 20].argmax().item()
    >>> f"{peak * 22050 / 2048:.0f} Hz"
    '441 Hz'
    """
    if backend(waveform) == "numba":
        return _stft_rows(waveform.contiguous(), n_fft, hop_length)
    if not len(waveform):  # MKL cannot transform an empty batch
        shape = 0, n_fft // 2 + 1, 1 + waveform.shape[1] // hop_length
        return torch.empty(shape, dtype=waveform.dtype.to_complex(), device=waveform.device)
    window = hann(n_fft, waveform.dtype, waveform.device)
    return windowed_rfft(waveform, window, hop_length, padding=n_fft // 2).transpose(1, 2)


def istft(spectrogram: Spectrogram, length: int, hop_length: int = 512) -> Float[Tensor, "batch {length}"]:
    """Invert `stft`: overlap-add with the same window, divided by the sum of the squared windows.

    Parameters
    ----------
    spectrogram : Tensor [batch, freq, frame], complex
    length : int
        Samples wanted. Only the frames that cover them are transformed; samples that no frame covers are zero.
    hop_length : int
        As in `stft`. Must divide half a frame, ``freq - 1`` samples.

    Returns
    -------
    Tensor [batch, length]

    Raises
    ------
    ValueError
        If `hop_length` does not divide half a frame.
    """
    n_fft = 2 * (spectrogram.shape[1] - 1)
    if n_fft % (2 * hop_length):
        raise ValueError(f"hop_length must divide n_fft // 2 = {n_fft // 2}, got {hop_length}; take n_fft // 4")
    if backend(spectrogram.real) == "numba":
        return _istft_rows(spectrogram.transpose(1, 2).contiguous(), length, hop_length)
    needed = spectrogram[:, :, : frames_covering(length, n_fft, hop_length)]
    valid = torch.ones(1, needed.shape[2], dtype=torch.bool, device=spectrogram.device)
    bounds = torch.arange(2, device=spectrogram.device).expand(len(spectrogram), 2) * length  # 0, length
    return overlap_add(needed, valid, bounds, length, hop_length, n_before=0)


def frames_covering(length: int, n_fft: int, hop_length: int) -> int:
    """Count the frames that cover any of the first `length` samples, from the frame centred on sample 0 on.

    A frame's first sample does not count: the periodic window is 0 there.
    """
    return (length + n_fft // 2 - 2) // hop_length + 1


def overlap_add(
    spectrogram: Spectrogram, valid: Tensor, bounds: Tensor, length: int, hop_length: int, *, n_before: int
) -> Float[Tensor, "batch {length}"]:
    """Transform frames back and overlap-add those that are `valid`; the inverse STFT of `istft` and `time_stretch`.

    Parameters
    ----------
    spectrogram : Tensor [batch, freq, frame], complex
        Zero in every frame that is not valid.
    valid : Tensor [batch, frame] or [1, frame], bool
        Which frames are added and count in the sum of squared windows.
    bounds : Tensor [batch, 2], int64
        Output samples ``bounds[:, 0]`` to ``bounds[:, 1] - 1`` are kept; the others are zero.
    length : int
        As in `istft`.
    hop_length : int
        Samples from one frame's centre to the next's, fewer than ``freq - 1``.
    n_before : int
        Number of frames centred before sample 0, so that frame `n_before` is centred on sample 0.

    Returns
    -------
    Tensor [batch, length]
    """
    n_fft = 2 * (spectrogram.shape[1] - 1)
    real = spectrogram.real.dtype
    window = hann(n_fft, real, spectrogram.device)
    if not len(spectrogram):  # as in `stft`
        return window.new_empty(0, length)
    frames = unscaled_irfft(spectrogram.transpose(1, 2), n_fft)  # [batch, frame, n_fft]
    start = n_fft // 2 + n_before * hop_length  # of output sample 0, counted from the first frame's first sample
    if backend(frames) == "triton":
        from gtzan_stream.kernels import triton_stft

        return triton_stft.overlap_add(frames.contiguous(), window, valid, bounds, hop_length, start, length)
    total = _sum_overlapping(frames * (window / n_fft), hop_length)[:, start : start + length]
    weight = _sum_overlapping(valid[:, :, None] * window.square(), hop_length)[:, start : start + length]
    waveform = total / torch.where(weight > constants.NO_WINDOW, weight, 1.0)
    sample = torch.arange(waveform.shape[1], device=waveform.device)
    kept = (sample >= bounds[:, :1]) & (sample < bounds[:, 1:])
    return functional.pad(torch.where(kept, waveform, 0.0), (0, length - waveform.shape[1]))


def _stft_rows(waveform: Tensor, n_fft: int, hop_length: int) -> Tensor:
    """`stft` by numba and scipy, one row on each core."""
    batch, time = waveform.shape
    spectrogram = np.empty((batch, 1 + time // hop_length, n_fft // 2 + 1), np.complex64)
    rows = waveform.numpy()
    for_rows(lambda i: stft_row(rows[i], n_fft, hop_length, spectrogram[i]), batch)
    return torch.from_numpy(spectrogram).transpose(1, 2)


def stft_row(samples: np.ndarray, n_fft: int, hop_length: int, out: np.ndarray) -> None:
    """Fill `out`, complex64 [1 + time // hop_length, freq], with the STFT of `samples` [time] on this thread."""
    from gtzan_stream.kernels import numba_stft

    window, n_frames = hann_array(n_fft), len(out)
    with borrowed(min(BLOCK_FRAMES, n_frames) * n_fft, np.float32) as scratch:
        frames = scratch.reshape(-1, n_fft)
        for first in range(0, n_frames, BLOCK_FRAMES):
            block = frames[: min(BLOCK_FRAMES, n_frames - first)]
            numba_stft.cut_frames(samples, window, hop_length, first * hop_length - n_fft // 2, block)
            out[first : first + len(block)] = scipy.fft.rfft(block, workers=1)


def _istft_rows(spectrogram: Tensor, length: int, hop_length: int) -> Tensor:
    """`istft` of a contiguous [batch, frame, freq] by numba and scipy, one row on each core."""
    waveform = np.empty((len(spectrogram), length), np.float32)
    rows = spectrogram.numpy()
    for_rows(lambda i: istft_row(rows[i], hop_length, waveform[i]), len(spectrogram))
    return torch.from_numpy(waveform)


def istft_row(spectrogram: np.ndarray, hop_length: int, out: np.ndarray) -> None:
    """Fill `out`, float32 [time], with the inverse STFT of complex64 [frame, freq] on this thread."""
    from gtzan_stream.kernels import numba_stft

    n_fft = 2 * (spectrogram.shape[1] - 1)
    n_frames = min(len(spectrogram), frames_covering(len(out), n_fft, hop_length))
    window = hann_array(n_fft)
    out[:] = 0
    for first in range(0, n_frames, BLOCK_FRAMES):
        block = spectrogram[first : min(first + BLOCK_FRAMES, n_frames)]
        numba_stft.add_frames(scipy.fft.irfft(block, n_fft, workers=1), window, hop_length, first, out)
    numba_stft.divide_by_windows(out, window, hop_length, 0, n_frames)


def _sum_overlapping(frames: Tensor, hop_length: int) -> Tensor:
    """Sum frames [batch, frame, n_fft] that start `hop_length` samples apart into [batch, time].

    A frame is cut into parts of one hop each, the last filled up with zeros: part p of frame t is added to hop t + p.
    """
    batch, n_frames, n_fft = frames.shape
    parts = -(-n_fft // hop_length)
    if n_fft % hop_length:
        frames = functional.pad(frames, (0, parts * hop_length - n_fft))
    total = frames.new_zeros(batch, n_frames + parts - 1, hop_length)
    for part in range(parts):
        total[:, part : part + n_frames] += frames[:, :, part * hop_length : (part + 1) * hop_length]
    return total.reshape(batch, -1)
