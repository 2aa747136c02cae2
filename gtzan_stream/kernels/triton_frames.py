"""Cut waveforms into windowed frames on CUDA, in one pass: one program makes SAMPLES samples of FRAMES frames.

The frames overlap, so neighbouring programs read the same samples, most of them from the cache.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl

TILE = 4096  # samples that one program writes: FRAMES * SAMPLES


@triton.jit
@no_type_check
def _cut(
    waveform, window, out, n_frames, n_fft, hop, padding, time, stride, FRAMES: tl.constexpr, SAMPLES: tl.constexpr
):  # fmt: skip
    frame_tiles, sample_tiles = tl.cdiv(n_frames, FRAMES), tl.cdiv(n_fft, SAMPLES)
    tile = tl.program_id(0) % (frame_tiles * sample_tiles)
    row = (tl.program_id(0) // (frame_tiles * sample_tiles)).to(tl.int64)
    frame = (tile // sample_tiles * FRAMES + tl.arange(0, FRAMES))[:, None]
    i = (tile % sample_tiles * SAMPLES + tl.arange(0, SAMPLES))[None, :]
    sample = frame * hop + i - padding
    stored = (frame < n_frames) & (i < n_fft)
    x = tl.load(waveform + row * stride + sample, mask=stored & (sample >= 0) & (sample < time), other=0)
    w = tl.load(window + i, mask=i < n_fft, other=0.0)
    tl.store(out + (row * n_frames + frame) * n_fft + i, x.to(tl.float32) * w, mask=stored)


@triton.jit
@no_type_check
def _cut_at(
    waveform, window, starts, out, n_frames, n_fft, time, stride, FRAMES: tl.constexpr, SAMPLES: tl.constexpr
):  # fmt: skip
    frame_tiles, sample_tiles = tl.cdiv(n_frames, FRAMES), tl.cdiv(n_fft, SAMPLES)
    tile = tl.program_id(0) % (frame_tiles * sample_tiles)
    row = (tl.program_id(0) // (frame_tiles * sample_tiles)).to(tl.int64)
    frame = (tile // sample_tiles * FRAMES + tl.arange(0, FRAMES))[:, None]
    i = (tile % sample_tiles * SAMPLES + tl.arange(0, SAMPLES))[None, :]
    stored = (frame < n_frames) & (i < n_fft)
    sample = tl.load(starts + row * n_frames + frame, mask=frame < n_frames, other=0) + i
    x = tl.load(waveform + row * stride + sample, mask=stored & (sample >= 0) & (sample < time), other=0.0)
    w = tl.load(window + i, mask=i < n_fft, other=0.0)
    tl.store(out + (row * n_frames + frame) * n_fft + i, x * w, mask=stored)


@no_type_check
def cut_at(waveform: torch.Tensor, window: torch.Tensor, starts: torch.Tensor, out: torch.Tensor) -> None:
    """Fill `out` as `cut` does, with the frames that begin at `starts`, int64 [batch, frame], of float32 samples."""
    batch, n_frames, n_fft = out.shape
    samples = min(triton.next_power_of_2(n_fft), 1024)
    frames = max(TILE // samples, 1)
    if waveform.stride(1) != 1:
        waveform = waveform.contiguous()
    if out.numel():
        grid = (triton.cdiv(n_frames, frames) * triton.cdiv(n_fft, samples) * batch,)
        with torch.cuda.device_of(waveform):
            _cut_at[grid](
                waveform, window, starts.contiguous(), out, n_frames, n_fft, waveform.shape[1], waveform.stride(0),
                FRAMES=frames, SAMPLES=samples, num_warps=4,
            )  # fmt: skip


@no_type_check
def cut(waveform: torch.Tensor, window: torch.Tensor, hop: int, padding: int, out: torch.Tensor) -> None:
    """Fill `out`, float32 [batch, frame, n_fft], contiguous, with the frames of `waveform` times `window`.

    Frame t begins at sample ``t * hop - padding`` of its row. Samples before and after the row are zeros. A waveform of
    int16 works too: with a window that is divided by 32768, its frames are those of samples at +/-1.
    """
    batch, n_frames, n_fft = out.shape
    samples = min(triton.next_power_of_2(n_fft), 1024)
    frames = max(TILE // samples, 1)
    if waveform.stride(1) != 1:
        waveform = waveform.contiguous()
    if out.numel():
        grid = (triton.cdiv(n_frames, frames) * triton.cdiv(n_fft, samples) * batch,)
        with torch.cuda.device_of(waveform):
            _cut[grid](
                waveform, window, out, n_frames, n_fft, hop, padding, waveform.shape[1], waveform.stride(0),
                FRAMES=frames, SAMPLES=samples, num_warps=4,
            )  # fmt: skip
