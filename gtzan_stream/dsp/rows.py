"""Shift the rows of a batch, or set their ends to zero, each row by its own number of samples."""

import numpy as np
import torch
from torch import Tensor

from gtzan_stream.dsp.backend import backend
from gtzan_stream.dsp.parameters import to_device


def roll(waveform: Tensor, shift: np.ndarray) -> Tensor:
    """Move row i of [batch, time] ``shift[i]`` samples later, circularly: `torch.roll` with a shift for each row.

    >>> roll(torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]), np.array([1, -1]))
    tensor([[3., 1., 2.],
            [2., 3., 1.]])
    """
    time = waveform.shape[1]
    by_kernel = backend(waveform) == "triton"
    if len(shift) == 1 and not by_kernel:
        return waveform.roll(int(shift[0]), 1)
    shift_on_device = to_device(shift % max(time, 1), waveform.device)
    if by_kernel:
        from gtzan_stream.kernels import triton_rows

        return triton_rows.roll(_with_dense_rows(waveform), shift_on_device)
    return waveform.gather(1, (torch.arange(time, device=waveform.device) - shift_on_device[:, None]) % time)


def zero_after(waveform: Tensor, length: np.ndarray, *, overwrite: bool = False) -> Tensor:
    """Set row i of [batch, time] to zero from sample ``length[i]`` on; with `overwrite`, maybe in `waveform` itself."""
    if (length >= waveform.shape[1]).all():
        return waveform
    end = to_device(length, waveform.device)
    if backend(waveform) == "triton":
        from gtzan_stream.kernels import triton_rows

        out = _with_dense_rows(waveform) if overwrite else waveform.clone(memory_format=torch.contiguous_format)
        triton_rows.clear(out, end, int(length.min()))
        return out
    valid = torch.arange(waveform.shape[1], device=waveform.device) < end[:, None]  # [batch, time]
    return waveform.where(valid, waveform.new_zeros(()))


def _with_dense_rows(waveform: Tensor) -> Tensor:
    return waveform if waveform.stride(1) == 1 else waveform.contiguous()
