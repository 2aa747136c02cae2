"""Overlap-add on CUDA: every output sample gathers the few frames that reach it, so nothing is added twice."""

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
def _overlap_add(
    frames, window, alive, ends, out, n_frames, length, start, alive_stride, N_FFT: tl.constexpr, HOP: tl.constexpr,
    LANES: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1).to(tl.int64)
    sample = tl.program_id(0) * LANES + tl.arange(0, LANES)
    place = sample + start  # from the first frame's first sample
    total = tl.zeros([LANES], tl.float32)
    weight = tl.zeros([LANES], tl.float32)
    for part in tl.static_range(N_FFT // HOP):
        frame = place // HOP - part
        counted = (frame >= 0) & (frame < n_frames)
        counted &= tl.load(alive + row * alive_stride + frame, mask=counted, other=0) != 0
        index = place % HOP + part * HOP
        w = tl.load(window + index)
        total += w * tl.load(frames + (row * n_frames + frame) * N_FFT + index, mask=counted, other=0.0)
        weight += tl.where(counted, w * w, 0.0)
    inside = (sample >= tl.load(ends + row * 2)) & (sample < tl.load(ends + row * 2 + 1))
    result = tl.where(inside, total / tl.where(weight > NO_WINDOW, weight, 1.0), 0.0)
    tl.store(out + row * length + sample, result, mask=sample < length)


def overlap_add(
    frames: torch.Tensor,
    window: torch.Tensor,
    alive: torch.Tensor,
    ends: torch.Tensor,
    hop: int,
    start: int,
    length: int,
) -> Tensor:
    """Give [batch, length]: the normalised sum of windowed `frames` from their sample number `start` on.

    Parameters
    ----------
    frames : float32 [batch, frame, n_fft], contiguous
    window : float32 [n_fft]
    alive : bool [batch, frame] or [1, frame]
        Frames that are added, and counted in the sum of the squared windows.
    ends : int64 [batch, 2]
        First output sample that is not zero, and the first after those.
    """
    batch, n_frames, n_fft = frames.shape
    out = frames.new_empty(batch, length)
    if out.numel():
        alive = alive.contiguous().view(torch.uint8)
        with torch.cuda.device_of(frames):
            _overlap_add[triton.cdiv(length, LANES), batch](
                frames, window, alive, ends.contiguous(), out, n_frames, length, start,
                0 if len(alive) == 1 else n_frames, N_FFT=n_fft, HOP=hop, LANES=LANES,
            )  # fmt: skip
    return out
