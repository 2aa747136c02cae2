"""The soft mask of harmonic-percussive separation on CUDA, in one pass over memory.

`gtzan_stream.dsp.hpss` has the formula. One of the medians is [frame, freq] in memory, the other [freq, frame], so each
is read by its own strides, and tiles are square so that neither is read in short pieces.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl

TILE = 32  # frames and bins that one program computes


@triton.jit
@no_type_check
def _mask(
    spectrogram, percussive, harmonic, out, n_frames, n_bins, p_per_frame, p_per_bin, h_per_frame, h_per_bin, power,
    margin, silent_mask, SQUARE: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    frame_tiles, bin_tiles = tl.cdiv(n_frames, TILE), tl.cdiv(n_bins, TILE)
    tile = tl.program_id(0) % (frame_tiles * bin_tiles)
    frame = (tile % frame_tiles * TILE + tl.arange(0, TILE))[:, None]
    k = (tile // frame_tiles * TILE + tl.arange(0, TILE))[None, :]
    plane = (tl.program_id(0) // (frame_tiles * bin_tiles)).to(tl.int64) * n_frames * n_bins
    in_bounds = (frame < n_frames) & (k < n_bins)
    p = tl.load(percussive + plane + frame * p_per_frame + k * p_per_bin, mask=in_bounds, other=0.0)
    h = margin * tl.load(harmonic + plane + frame * h_per_frame + k * h_per_bin, mask=in_bounds, other=0.0)
    larger = tl.maximum(p, h)
    silent = larger < 1.1754943508222875e-38  # the smallest normal float32
    scale = tl.where(silent, 1.0, larger)
    p, h = p / scale, h / scale
    if SQUARE:
        p, h = p * p, h * h
    else:
        p = tl.where(p > 0, tl.exp(power * tl.log(p)), 0.0)
        h = tl.where(h > 0, tl.exp(power * tl.log(h)), 0.0)
    gain = tl.where(silent, silent_mask, p / (p + h))
    index = 2 * (plane + frame * n_bins + k)
    tl.store(out + index, gain * tl.load(spectrogram + index, mask=in_bounds, other=0.0), mask=in_bounds)
    tl.store(out + index + 1, gain * tl.load(spectrogram + index + 1, mask=in_bounds, other=0.0), mask=in_bounds)


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

    The medians `percussive` and `harmonic` have the same shape. Each of their planes is dense, with either axis
    contiguous. Where both are 0 the mask is `silent_mask`.
    """
    batch, n_frames, n_bins = spectrogram.shape
    if out.numel():
        grid = (triton.cdiv(n_frames, TILE) * triton.cdiv(n_bins, TILE) * batch,)
        with torch.cuda.device_of(spectrogram):
            _mask[grid](
                torch.view_as_real(spectrogram), percussive, harmonic, torch.view_as_real(out), n_frames, n_bins,
                *percussive.stride()[1:], *harmonic.stride()[1:], power, margin, silent_mask,
                SQUARE=power == 2, TILE=TILE,
            )  # fmt: skip
