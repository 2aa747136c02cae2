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
def _place(n_frames, n_fft, FRAMES: tl.constexpr, SAMPLES: tl.constexpr):
    """Return a program's row, its frames [FRAMES, 1] and its samples of a frame [1, SAMPLES]."""
    frame_tiles, sample_tiles = tl.cdiv(n_frames, FRAMES), tl.cdiv(n_fft, SAMPLES)
    tile = tl.program_id(0) % (frame_tiles * sample_tiles)
    row = (tl.program_id(0) // (frame_tiles * sample_tiles)).to(tl.int64)
    frame = (tile // sample_tiles * FRAMES + tl.arange(0, FRAMES))[:, None]
    return row, frame, (tile % sample_tiles * SAMPLES + tl.arange(0, SAMPLES))[None, :]


@triton.jit
@no_type_check
def _write(waveform, window, out, row, frame, i, sample, n_frames, n_fft, time, stride):
    """Write samples `i` of frames, which are at `sample` in the waveform, times the window."""
    stored = (frame < n_frames) & (i < n_fft)
    x = tl.load(waveform + row * stride + sample, mask=stored & (sample >= 0) & (sample < time), other=0)
    w = tl.load(window + i, mask=i < n_fft, other=0.0)
    tl.store(out + (row * n_frames + frame) * n_fft + i, x.to(tl.float32) * w, mask=stored)


@triton.jit
@no_type_check
def _cut(
    waveform, window, out, n_frames, n_fft, hop, padding, time, stride, FRAMES: tl.constexpr, SAMPLES: tl.constexpr
):  # fmt: skip
    row, frame, i = _place(n_frames, n_fft, FRAMES, SAMPLES)
    sample = frame * hop + i - padding
    _write(waveform, window, out, row, frame, i, sample, n_frames, n_fft, time, stride)


@triton.jit
@no_type_check
def _cut_at(
    waveform, window, starts, out, n_frames, n_fft, time, stride, FRAMES: tl.constexpr, SAMPLES: tl.constexpr
):  # fmt: skip
    row, frame, i = _place(n_frames, n_fft, FRAMES, SAMPLES)
    sample = tl.load(starts + row * n_frames + frame, mask=frame < n_frames, other=0) + i
    _write(waveform, window, out, row, frame, i, sample, n_frames, n_fft, time, stride)


@no_type_check
def cut(waveform: torch.Tensor, window: torch.Tensor, hop: int, padding: int, out: torch.Tensor) -> None:
    """Fill `out`, float32 [batch, frame, n_fft], contiguous, with the frames of `waveform` times `window`.

    Frame t begins at sample ``t * hop - padding`` of its row. Samples before and after the row are zeros. A waveform of
    int16 works too: with a window that is divided by 32768, its frames are those of samples at +/-1.
    """
    _launch(_cut, waveform, (window, out, *out.shape[1:], hop, padding), out)


@no_type_check
def cut_at(waveform: torch.Tensor, window: torch.Tensor, starts: torch.Tensor, out: torch.Tensor) -> None:
    """Fill `out` as `cut` does, with the frames that begin at `starts`, int64 [batch, frame]."""
    _launch(_cut_at, waveform, (window, starts.contiguous(), out, *out.shape[1:]), out)


@no_type_check
def _launch(kernel, waveform, arguments, out):
    """Launch a kernel with a waveform, `arguments`, and the length and stride of the waveform's rows."""
    batch, n_frames, n_fft = out.shape
    samples = min(triton.next_power_of_2(n_fft), 1024)
    frames = max(TILE // samples, 1)
    if waveform.stride(1) != 1:
        waveform = waveform.contiguous()
    if out.numel():
        grid = (triton.cdiv(n_frames, frames) * triton.cdiv(n_fft, samples) * batch,)
        with torch.cuda.device_of(waveform):
            kernel[grid](
                waveform, *arguments, waveform.shape[1], waveform.stride(0), FRAMES=frames, SAMPLES=samples, num_warps=4
            )
