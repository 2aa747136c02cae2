"""Shift rows, or set their ends to zero, on CUDA: one program works on LANES samples of one row."""

from typing import no_type_check

import torch
import triton
import triton.language as tl

LANES = 2048


@triton.jit
@no_type_check
def _roll(waveform, shift, out, time, stride, LANES: tl.constexpr):
    tiles = tl.cdiv(time, LANES)
    row = (tl.program_id(0) // tiles).to(tl.int64)
    sample = tl.program_id(0) % tiles * LANES + tl.arange(0, LANES)
    source = sample - tl.load(shift + row).to(tl.int32)
    source = tl.where(source < 0, source + time, source)
    x = tl.load(waveform + row * stride + source, mask=sample < time)
    tl.store(out + row * time + sample, x, mask=sample < time)


@triton.jit
@no_type_check
def _clear(waveform, length, first, time, stride, LANES: tl.constexpr):
    tiles = tl.cdiv(time - first, LANES)
    row = (tl.program_id(0) // tiles).to(tl.int64)
    sample = first + tl.program_id(0) % tiles * LANES + tl.arange(0, LANES)
    tl.store(waveform + row * stride + sample, 0.0, mask=(sample >= tl.load(length + row)) & (sample < time))


@no_type_check
def roll(waveform: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Return float32 [batch, time] with row i moved ``shift[i]`` samples later, circularly.

    `shift` is int64 [batch], ``0 <= shift < time``. The samples of a row of `waveform` are side by side.
    """
    batch, time = waveform.shape
    out = waveform.new_empty(batch, time)
    if out.numel():
        with torch.cuda.device_of(waveform):
            _roll[(triton.cdiv(time, LANES) * batch,)](
                waveform, shift, out, time, waveform.stride(0), LANES=LANES, num_warps=4
            )  # fmt: skip
    return out


@no_type_check
def clear(waveform: torch.Tensor, length: torch.Tensor, first: int) -> None:
    """Set row i of float32 [batch, time] to zero from sample ``length[i]`` on, in place.

    `length` is int64 [batch], and `first` its minimum. The samples of a row of `waveform` are side by side.
    """
    batch, time = waveform.shape
    if batch and first < time:
        with torch.cuda.device_of(waveform):
            _clear[(triton.cdiv(time - first, LANES) * batch,)](
                waveform, length, first, time, waveform.stride(0), LANES=LANES, num_warps=4
            )  # fmt: skip
