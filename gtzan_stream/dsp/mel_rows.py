"""Log-mel spectrograms on the CPU: functions that compute one row in one thread, and a batch by these.

There are two kinds, with the formulas of `gtzan_stream.dsp.mel`. Those of `row_kernel` are about four times as fast, by
vectors of frames. The others work everywhere and for all settings, with scipy's FFT of one frame after another.
"""

from collections.abc import Callable

import numpy as np
import scipy.fft
import torch
from jaxtyping import Float

from gtzan_stream.dsp.backend import backend, for_rows
from gtzan_stream.dsp.mel_bands import Bands, LogCompression
from gtzan_stream.dsp.scratch import borrowed
from gtzan_stream.dsp.stft import BLOCK_FRAMES

RowKernel = Callable[[np.ndarray, np.ndarray], None]
"""A function ``kernel(samples, out)`` that fills `out` [mel, frame] from `samples` [time]."""

_INT16, _FLOAT32 = np.dtype(np.int16), np.dtype(np.float32)


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
    if backend(window) != "numba" or power not in (1, 2):
        return None
    from gtzan_stream.kernels.lanes import lanes

    if not lanes():
        return None
    from gtzan_stream.kernels import lanes_fft, lanes_mel

    n_fft, n_mels = len(window), len(bands.starts)
    if (plan := lanes_fft.plan(n_fft)) is None:
        return None
    windows = {dtype: lanes_mel.scaled_window(window.numpy(), dtype) for dtype in (_INT16, _FLOAT32)}
    starts, widths = (tensor.numpy().astype(np.int32) for tensor in (bands.starts, bands.widths))
    tables = plan, starts, widths, bands.weights.numpy().astype(np.float32).ravel()
    settings = power == 2, *(np.float32(number) for number in compression)
    n_scratch = lanes_mel.scratch_size(n_fft, n_mels)

    def kernel(samples: np.ndarray, out: np.ndarray) -> None:
        own_window = windows.get(samples.dtype)
        if own_window is None or out.dtype != _FLOAT32:
            raise TypeError(f"expected int16 or float32 samples and float32 out, got {samples.dtype} and {out.dtype}")
        shape = n_mels, 1 + (len(samples) - n_fft) // hop_length
        if samples.ndim != 1 or out.shape != shape or not out.flags.carray:
            raise ValueError(
                f"expected samples [time] and contiguous out of shape {shape}, got {samples.shape} and {out.shape}"
            )
        if not samples.flags.carray:  # strided or read-only, for which numba would compile the kernel again
            samples = samples.copy()
        with borrowed(n_scratch, np.float32) as memory:
            lanes_mel.log_mel(samples, hop_length, own_window, *tables, *settings, memory, out)

    return kernel


def log_mel_rows(
    waveform: torch.Tensor,
    window: torch.Tensor,
    bands: Bands,
    hop_length: int,
    power: float,
    compression: LogCompression,
) -> torch.Tensor:
    """Compute `gtzan_stream.dsp.mel.log_mel` by numba, one row on each core."""
    kernel = row_kernel(window, bands, hop_length=hop_length, power=power, compression=compression)
    kernel = kernel or _scipy_row_kernel(window, bands, hop_length, power, compression)
    n_frames = 1 + (waveform.shape[1] - len(window)) // hop_length
    out = waveform.new_empty(len(waveform), len(bands.starts), n_frames)
    rows, results = waveform.numpy(), out.numpy()
    for_rows(lambda i: kernel(rows[i], results[i]), len(waveform))
    return out


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
