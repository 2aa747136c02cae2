"""Transform the frames of a whole batch with one FFT call, in few different sizes on a GPU.

cuFFT makes a plan for each number of frames that it transforms at once, and torch keeps thousands of plans, with memory
that its allocator does not count. The number of frames is the number of rows that a batch's draws give to a transform,
times a length that depends on their rates, so nearly every batch would add plans. On a GPU, the number is therefore
rounded up to the next of 1024, 1536, 2048, 3072, 4096... The additional frames hold whatever was in memory, and their
results are dropped.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gtzan_stream.dsp.backend import backend
from gtzan_stream.dsp.parameters import to_device

SMALLEST = 1024
"""Smallest number of frames that is transformed at once on a GPU."""


def rounded(n_frames: int) -> int:
    """Round up to the next power of two, or to 3/4 of it.

    >>> [rounded(n) for n in (1, 1025, 1537, 2049, 100_000)]
    [1024, 1536, 2048, 3072, 131072]
    """
    power = 1 << max(n_frames - 1, SMALLEST - 1).bit_length()
    return power * 3 // 4 if SMALLEST < n_frames <= power * 3 // 4 else power


def windowed_rfft(waveform: Tensor, window: Tensor, hop_length: int, *, padding: int = 0) -> Tensor:
    """Transform the windowed frames of each row.

    Parameters
    ----------
    waveform : Tensor [batch, time]
        At least one row, and one frame with the padding.
    window : Tensor [n_fft]
        Multiplies each frame.
    hop_length : int
        Samples from one frame to the next.
    padding : int
        Zeros before and after each row.

    Returns
    -------
    Tensor [batch, 1 + (time + 2 * padding - n_fft) // hop_length, n_fft // 2 + 1], complex, contiguous
    """
    n_frames = 1 + (waveform.shape[1] + 2 * padding - len(window)) // hop_length

    def cut(out: Tensor) -> None:
        from gtzan_stream.kernels import triton_frames

        triton_frames.cut(waveform, window, hop_length, padding, out)

    return _transform(waveform, window, n_frames, lambda: _frames(waveform, len(window), hop_length, padding), cut)


def windowed_rfft_at(waveform: Tensor, window: Tensor, starts: np.ndarray) -> Tensor:
    """Transform the windowed frames of each row that begin at its `starts`, with zeros beyond the row's ends.

    Parameters
    ----------
    waveform : Tensor [batch, time]
    window : Tensor [n_fft]
    starts : int64 array [batch, frame]

    Returns
    -------
    Tensor [batch, frame, n_fft // 2 + 1], complex, contiguous
    """
    at = to_device(starts, waveform.device)

    def cut(out: Tensor) -> None:
        from gtzan_stream.kernels import triton_frames

        triton_frames.cut_at(waveform, window, at, out)

    return _transform(waveform, window, starts.shape[1], lambda: _frames_at(waveform, len(window), at), cut)


def _transform(
    waveform: Tensor, window: Tensor, n_frames: int, frames: Callable[[], Tensor], cut: Callable[[Tensor], None]
) -> Tensor:
    """Transform the windowed frames of each row: complex [batch, n_frames, n_fft // 2 + 1], contiguous.

    In torch, `frames` returns the frames, without the window; in Triton, `cut` fills them in, with the window.
    """
    by_kernel = backend(waveform) == "triton"
    if not by_kernel and not _is_rounded(waveform):
        return torch.fft.rfft(frames() * window).contiguous()  # the spectrum of a strided waveform is not contiguous
    n = len(waveform) * n_frames
    block = waveform.new_empty(rounded(n) if _is_rounded(waveform) else n, len(window))
    windowed = block[:n].view(len(waveform), n_frames, len(window))
    if by_kernel:
        cut(windowed)
    else:
        torch.mul(frames(), window, out=windowed)
    return torch.fft.rfft(block)[:n].view(len(waveform), n_frames, -1)


def _frames(waveform: Tensor, n_fft: int, hop_length: int, padding: int) -> Tensor:
    """Return the frames of each padded row, overlapping views: [batch, frame, n_fft]."""
    padded = functional.pad(waveform, (padding, padding)) if padding else waveform
    return padded.unfold(1, n_fft, hop_length)


def _frames_at(waveform: Tensor, n_fft: int, starts: Tensor) -> Tensor:
    """Return the frames of each row that begin at `starts` [batch, frame], with zeros beyond its ends."""
    time = waveform.shape[1]
    index = starts[:, :, None] + torch.arange(n_fft, device=waveform.device)
    index = torch.where((index < 0) | (index >= time), time, index)  # padded[:, time] is 0
    return functional.pad(waveform, (0, 1)).gather(1, index.flatten(1)).view(index.shape)


def empty_spectrum(shape: Sequence[int], like: Tensor) -> Tensor:
    """Allocate a spectrum [batch, frame, freq], like the tensor `like`, that `unscaled_irfft` need not copy."""
    batch, n_frames, n_freq = shape
    n = batch * n_frames
    return like.new_empty(rounded(n) if _is_rounded(like) else n, n_freq)[:n].view(batch, n_frames, n_freq)


def unscaled_irfft(spectrum: Tensor, n_fft: int) -> Tensor:
    """Transform a spectrum [batch, frame, n_fft // 2 + 1] back to `n_fft` times the frames, [batch, frame, n_fft].

    On a GPU the factor would be one more pass over memory. Callers have a product to put it into.
    """
    if not _is_rounded(spectrum):
        return torch.fft.irfft(spectrum, n=n_fft, norm="forward")
    batch, n_frames, n_freq = spectrum.shape
    n = rounded(batch * n_frames)
    spectrum = spectrum.contiguous()
    available = spectrum.untyped_storage().nbytes() // spectrum.element_size() - spectrum.storage_offset()
    if available >= n * n_freq:
        block = spectrum.as_strided((n, n_freq), (n_freq, 1))
    else:
        block = spectrum.new_empty(n, n_freq)
        block[: batch * n_frames] = spectrum.flatten(0, 1)
    return torch.fft.irfft(block, n=n_fft, norm="forward")[: batch * n_frames].view(batch, n_frames, n_fft)


def _is_rounded(tensor: Tensor) -> bool:
    """Return whether the number of frames is rounded. With gradients it is not: `out=` has none."""
    return tensor.device.type != "cpu" and not tensor.requires_grad and not torch.compiler.is_compiling()
