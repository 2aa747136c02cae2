"""The soft mask of harmonic-percussive separation on CUDA, in one pass over memory."""

from typing import no_type_check

import torch
import triton
import triton.language as tl

TILE = 32  # frames and bins: one of the medians lies the other way round, so tiles are square


@triton.jit
@no_type_check
def _mask(
    spectrogram, percussive, harmonic, out, n_frames, n_bins,
    per_frame, per_bin, har_frame, har_bin, power, margin, empty, SQUARE: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    frame = (tl.program_id(0) * TILE + tl.arange(0, TILE))[:, None]
    k = (tl.program_id(1) * TILE + tl.arange(0, TILE))[None, :]
    plane = tl.program_id(2).to(tl.int64) * n_frames * n_bins
    inside = (frame < n_frames) & (k < n_bins)
    p = tl.load(percussive + plane + frame * per_frame + k * per_bin, mask=inside, other=0.0)
    h = margin * tl.load(harmonic + plane + frame * har_frame + k * har_bin, mask=inside, other=0.0)
    larger = tl.maximum(p, h)
    nothing = larger < 1.1754943508222875e-38  # the smallest normal float32
    scale = tl.where(nothing, 1.0, larger)
    p, h = p / scale, h / scale
    if SQUARE:
        p, h = p * p, h * h
    else:
        p = tl.where(p > 0, tl.exp(power * tl.log(p)), 0.0)
        h = tl.where(h > 0, tl.exp(power * tl.log(h)), 0.0)
    gain = tl.where(nothing, empty, p / (p + h))
    place = 2 * (plane + frame * n_bins + k)
    tl.store(out + place, gain * tl.load(spectrogram + place, mask=inside, other=0.0), mask=inside)
    tl.store(out + place + 1, gain * tl.load(spectrogram + place + 1, mask=inside, other=0.0), mask=inside)


@no_type_check
def mask(
    spectrogram: torch.Tensor,
    percussive: torch.Tensor,
    harmonic: torch.Tensor,
    power: float,
    margin: float,
    empty: float,
) -> torch.Tensor:
    """Soft-mask contiguous complex64 [batch, frame, freq].

    The medians have the same shape; each of their planes is dense, in either order.
    """
    out = torch.empty_like(spectrogram)
    batch, n_frames, n_bins = spectrogram.shape
    if out.numel():
        grid = (triton.cdiv(n_frames, TILE), triton.cdiv(n_bins, TILE), batch)
        with torch.cuda.device_of(spectrogram):
            _mask[grid](
                torch.view_as_real(spectrogram), percussive, harmonic, torch.view_as_real(out), n_frames, n_bins,
                *percussive.stride()[1:], *harmonic.stride()[1:], power, margin, empty, SQUARE=power == 2, TILE=TILE,
            )  # fmt: skip
    return out
