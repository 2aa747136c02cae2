"""Magnitudes and the soft mask of harmonic-percussive separation on CUDA, each in one pass over memory.

`gtzan_stream.dsp.hpss` has the formula. Magnitudes are written twice, as [frame, freq] for the median along time, and
as [freq, frame] for that along frequency, because `triton_median` computes medians down columns: tiles of TILE frames
and TILE bins are transposed in shared memory. All that the mask reads is [frame, freq] in memory, so it goes through
memory in order, LANES bins in each program.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl

TILE = 32  # frames and bins of which one program computes the magnitudes
LANES = 512  # bins to which one program applies the mask


@triton.jit
@no_type_check
def _magnitude(spectrogram, magnitude, transposed, n_frames, n_bins, TILE: tl.constexpr):
    frame_tiles, bin_tiles = tl.cdiv(n_frames, TILE), tl.cdiv(n_bins, TILE)
    frame = (tl.program_id(0) // bin_tiles % frame_tiles * TILE + tl.arange(0, TILE))[:, None]
    k = (tl.program_id(0) % bin_tiles * TILE + tl.arange(0, TILE))[None, :]
    plane = (tl.program_id(0) // (frame_tiles * bin_tiles)).to(tl.int64) * n_frames * n_bins
    in_bounds = (frame < n_frames) & (k < n_bins)
    index = frame * n_bins + k
    part = tl.arange(0, 2)[None, None, :]
    x = tl.load(spectrogram + 2 * (plane + index)[:, :, None] + part, mask=in_bounds[:, :, None], other=0.0)
    real, imaginary = tl.split(x)
    real, imaginary = tl.abs(real), tl.abs(imaginary)
    larger, smaller = tl.maximum(real, imaginary), tl.minimum(real, imaginary)
    ratio = smaller / tl.where(larger > 0, larger, 1.0)  # squares could overflow or underflow
    result = larger * tl.sqrt(1.0 + ratio * ratio)
    tl.store(magnitude + plane + index, result, mask=in_bounds)
    tl.store(transposed + plane + (k * n_frames + frame), result, mask=in_bounds)


@triton.jit
@no_type_check
def _mask(
    spectrogram, percussive, harmonic, out, n, power, margin, silent_mask, SQUARE: tl.constexpr, LANES: tl.constexpr
):
    i = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    p = tl.load(percussive + i, mask=i < n, other=0.0)
    h = margin * tl.load(harmonic + i, mask=i < n, other=0.0)
    larger = tl.maximum(p, h)
    silent = larger < 1.1754943508222875e-38  # the smallest normal float32
    ratio = tl.minimum(p, h) / tl.where(silent, 1.0, larger)
    if SQUARE:
        ratio *= ratio
    else:
        ratio = tl.where(ratio > 0, tl.exp(power * tl.log(ratio)), 0.0)
    gain = tl.where(silent, silent_mask, tl.where(p < h, ratio, 1.0) / (1.0 + ratio))
    both = 2 * i[:, None] + tl.arange(0, 2)[None, :]  # the real and the imaginary part of each number
    x = tl.load(spectrogram + both, mask=(i < n)[:, None], other=0.0)
    tl.store(out + both, gain[:, None] * x, mask=(i < n)[:, None])


@no_type_check
def magnitudes(spectrogram: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the magnitudes of contiguous complex64 [batch, frame, freq], and their transpose [batch, freq, frame]."""
    batch, n_frames, n_bins = spectrogram.shape
    magnitude = torch.empty_like(spectrogram, dtype=torch.float32)
    transposed = magnitude.new_empty(batch, n_bins, n_frames)
    if magnitude.numel():
        grid = (triton.cdiv(n_frames, TILE) * triton.cdiv(n_bins, TILE) * batch,)
        with torch.cuda.device_of(spectrogram):
            _magnitude[grid](
                torch.view_as_real(spectrogram), magnitude, transposed, n_frames, n_bins, TILE=TILE, num_warps=4
            )
    return magnitude, transposed


@no_type_check
def mask(
    spectrogram: torch.Tensor,
    percussive: torch.Tensor,
    harmonic: torch.Tensor,
    power: float,
    margin: float,
    silent_mask: float,
    out: torch.Tensor,
) -> None:
    """Fill `out` with `spectrogram` times its percussive mask; both are contiguous complex64 [batch, frame, freq].

    The medians `percussive` and `harmonic` have the same shape and are contiguous. Where both are 0 the mask is
    `silent_mask`.
    """
    n = out.numel()
    if n:
        with torch.cuda.device_of(spectrogram):
            _mask[(triton.cdiv(n, LANES),)](
                torch.view_as_real(spectrogram), percussive, harmonic, torch.view_as_real(out), n, power, margin,
                silent_mask, SQUARE=power == 2, LANES=LANES, num_warps=4,
            )  # fmt: skip
