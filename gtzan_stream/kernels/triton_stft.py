"""Overlap-add on CUDA, by the formula of `gtzan_stream.dsp.stft`; complex numbers, and matrices of four columns.

Each output sample gathers the frames that cover it, instead of each frame adding to its samples: no atomic additions,
so the result is the same in every run.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from gtzan_stream.kernels import constants

LANES = 512
NO_WINDOW = tl.constexpr(constants.NO_WINDOW)


@triton.jit
@no_type_check
def split(pair):
    """Return real and imaginary part of complex numbers that were read as one number of 64 bits."""
    return pair.to(tl.int32).to(tl.float32, bitcast=True), (pair >> 32).to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit
@no_type_check
def join(re, im):
    """Put real and imaginary parts into one number of 64 bits each."""
    low = re.to(tl.uint32, bitcast=True).to(tl.int64)
    return low | (im.to(tl.int32, bitcast=True).to(tl.int64) << 32)


@triton.jit
@no_type_check
def columns(matrix):
    """Return the columns of [lane, 4]. A thread has a whole row, so nothing is moved."""
    even, odd = tl.split(tl.reshape(matrix, [matrix.shape[0], 2, 2]))
    c0, c2 = tl.split(even)
    c1, c3 = tl.split(odd)
    return c0, c1, c2, c3


@triton.jit
@no_type_check
def matrix(c0, c1, c2, c3):
    """Return [lane, 4] with these columns."""
    return tl.reshape(tl.join(tl.join(c0, c2), tl.join(c1, c3)), [c0.shape[0], 4])


@triton.jit
@no_type_check
def _overlap_add(
    frames, window, valid, bounds, out, n_frames, length, start, valid_stride, N_FFT: tl.constexpr, HOP: tl.constexpr,
    LANES: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(length, LANES)
    row = (tl.program_id(0) // tiles).to(tl.int64)
    sample = tl.program_id(0) % tiles * LANES + tl.arange(0, LANES)
    position = sample + start  # counted from the first frame's first sample
    total = tl.zeros([LANES], tl.float32)
    weight = tl.zeros([LANES], tl.float32)
    for part in tl.static_range((N_FFT + HOP - 1) // HOP):
        frame = position // HOP - part
        counted = (frame >= 0) & (frame < n_frames) & (position % HOP + part * HOP < N_FFT)
        counted &= tl.load(valid + row * valid_stride + frame, mask=counted, other=0) != 0
        index = position % HOP + part * HOP
        w = tl.load(window + index, mask=counted, other=0.0)
        total += w * tl.load(frames + (row * n_frames + frame) * N_FFT + index, mask=counted, other=0.0)
        weight += tl.where(counted, w * w, 0.0)
    kept = (sample >= tl.load(bounds + row * 2)) & (sample < tl.load(bounds + row * 2 + 1))
    result = tl.where(kept, total / (N_FFT * tl.where(weight > NO_WINDOW, weight, 1.0)), 0.0)
    tl.store(out + row * length + sample, result, mask=sample < length)


def overlap_add(
    frames: torch.Tensor,
    window: torch.Tensor,
    valid: torch.Tensor,
    bounds: torch.Tensor,
    hop: int,
    start: int,
    length: int,
) -> Tensor:
    """Return the sum of the windowed `frames`, divided by n_fft times that of the squared windows: [batch, length].

    Parameters
    ----------
    frames : float32 [batch, frame, n_fft], contiguous
    window : float32 [n_fft]
    valid : bool [batch, frame] or [1, frame]
        Frames that are added, and counted in the sum of the squared windows.
    bounds : int64 [batch, 2]
        Output samples ``bounds[:, 0]`` to ``bounds[:, 1] - 1`` are kept; the others are zero.
    start : int
        Where output sample 0 is, counted in samples from the first frame's first sample.
    """
    batch, n_frames, n_fft = frames.shape
    out = frames.new_empty(batch, length)
    if out.numel():
        valid = valid.contiguous().view(torch.uint8)
        with torch.cuda.device_of(frames):
            _overlap_add[(triton.cdiv(length, LANES) * batch,)](
                frames, window, valid, bounds.contiguous(), out, n_frames, length, start,
                0 if len(valid) == 1 else n_frames, N_FFT=n_fft, HOP=hop, LANES=LANES,
            )  # fmt: skip
    return out
