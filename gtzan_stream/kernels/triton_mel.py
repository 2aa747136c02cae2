"""Compute log-mel bands from a spectrum on CUDA: one program computes a tile of BANDS bands of FRAMES frames.

`gtzan_stream.dsp.mel` has the formulas, including how log(1 + x) keeps the digits of a small x.

A program reads each bin of its bands once, BINS at a time, a frame's bins side by side, and multiplies the magnitudes
[frame, bin] by the weights [bin, band]. Most of these weights are 0, but a matrix product on tensor cores is faster
than reading each band's bins by themselves. It splits a number into two of TF32's 11 bits; since no term is negative,
a band's relative error is below 1e-6, however quiet it is beside others. Bins that are not finite make the bands of
their frame NaN, and no other frame's.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl

from gtzan_stream.kernels.triton_stft import split

FRAMES, BANDS = 64, 16  # size of a tile
BINS = 32  # bins in one pass of the loop
PRECISION = "ieee" if torch.version.hip else "tf32x3"  # GPUs of AMD have no TF32


@triton.jit
@no_type_check
def _mel(
    spectrum, starts, widths, weights, out, n_frames, n_bins, n_mels, widest, gain, floor, scale,
    POWER: tl.constexpr, FRAMES: tl.constexpr, BANDS: tl.constexpr, BINS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    band_tiles, frame_tiles = tl.cdiv(n_mels, BANDS), tl.cdiv(n_frames, FRAMES)
    band = tl.program_id(0) % band_tiles * BANDS + tl.arange(0, BANDS)
    tile = tl.program_id(0) // band_tiles
    frame = tile % frame_tiles * FRAMES + tl.arange(0, FRAMES)
    row = (tile // frame_tiles).to(tl.int64)
    is_band, is_frame = band < n_mels, frame < n_frames
    start = tl.load(starts + band, mask=is_band, other=n_bins)
    end = tl.where(is_band, start + tl.load(widths + band, mask=is_band, other=0), 0)
    first, last = tl.min(start), tl.max(end)
    source = spectrum + (row * n_frames + frame[:, None]) * n_bins  # real and imaginary part are one int64
    total = tl.zeros([FRAMES, BANDS], tl.float32)
    while first < last:  # Triton's interpreter cannot run range() over a tensor
        k = first + tl.arange(0, BINS)
        pair = tl.load(source + k[None, :], mask=is_frame[:, None] & (k < last)[None, :], other=0)
        real, imag = split(pair)
        value = real * real + imag * imag
        if POWER == 1.0:
            value = tl.sqrt(value)
        elif POWER != 2.0:
            value = tl.where(value == 0, 0.0, tl.exp(tl.log(value) * (0.5 * POWER)))
        i = k[:, None] - start[None, :]
        used = (i >= 0) & (k[:, None] < end[None, :])
        weight = tl.load(weights + band[None, :] * widest + i, mask=used, other=0.0)
        total = tl.dot(value, weight, total, input_precision=PRECISION)
        first += BINS
    x = gain * total
    floored = tl.maximum(total, floor, propagate_nan=tl.PropagateNan.ALL)
    y = tl.where(gain > 0, 1.0 + x, floored)
    result = tl.log(y) + tl.where(gain > 0, (x - (y - 1.0)) / y, 0.0)
    target = out + (row * n_mels + band[None, :]) * n_frames + frame[:, None]
    tl.store(target, scale * result, mask=is_frame[:, None] & is_band[None, :])


@no_type_check
def mel(
    spectrum: torch.Tensor,
    starts: torch.Tensor,
    widths: torch.Tensor,
    weights: torch.Tensor,
    power: float,
    gain: float,
    floor: float,
    scale: float,
    out: torch.Tensor,
) -> None:
    """Fill `out`, float32 [batch, mel, frame], from contiguous complex64 `spectrum` [batch, frame, freq].

    `starts`, `widths` and `weights` are those of `dsp.mel_bands.Bands`; `gain`, `floor` and `scale` are those of
    `LogCompression`.
    """
    batch, n_frames, n_bins = spectrum.shape
    n_mels, widest = weights.shape
    if out.numel():
        grid = (triton.cdiv(n_mels, BANDS) * triton.cdiv(n_frames, FRAMES) * batch,)
        with torch.cuda.device_of(spectrum):
            _mel[grid](
                spectrum.view(torch.int64), starts, widths, weights, out, n_frames, n_bins, n_mels, widest, gain,
                floor, scale, POWER=power, FRAMES=FRAMES, BANDS=BANDS, BINS=BINS, PRECISION=PRECISION, num_warps=4,
            )  # fmt: skip
