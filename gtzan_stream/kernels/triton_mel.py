"""Compute log-mel bands from a spectrum on CUDA: one program computes all bands of one frame, a lane for each band.

`gtzan_stream.dsp.mel` has the formulas, including how log(1 + x) keeps the digits of a small x.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl


@triton.jit
@no_type_check
def _mel(
    spectrum, starts, widths, weights, out, n_frames, n_bins, n_mels, gain, floor, scale,
    WIDEST: tl.constexpr, POWER: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    frame, row = tl.program_id(0) % n_frames, (tl.program_id(0) // n_frames).to(tl.int64)
    band = tl.arange(0, LANES)
    is_band = band < n_mels
    start = tl.load(starts + band, mask=is_band, other=0)
    width = tl.load(widths + band, mask=is_band, other=0)
    source = spectrum + (row * n_frames + frame) * n_bins * 2
    total = tl.zeros([LANES], tl.float32)
    for i in range(WIDEST):
        used = i < width
        real = tl.load(source + 2 * (start + i), mask=used, other=0.0)
        imag = tl.load(source + 2 * (start + i) + 1, mask=used, other=0.0)
        value = real * real + imag * imag
        if POWER == 1.0:
            value = tl.sqrt_rn(value)
        elif POWER != 2.0:
            value = tl.where(value == 0, 0.0, tl.exp(tl.log(value) * (0.5 * POWER)))
        total += tl.load(weights + i * n_mels + band, mask=used, other=0.0) * value
    one_plus_x = 1.0 + gain * total
    correction = (gain * total - (one_plus_x - 1.0)) / one_plus_x
    floored = tl.maximum(total, floor, propagate_nan=tl.PropagateNan.ALL)
    result = tl.where(gain > 0, tl.log(one_plus_x) + correction, tl.log(floored))
    tl.store(out + (row * n_mels + band) * n_frames + frame, scale * result, mask=is_band)


@no_type_check
def mel(
    spectrum: torch.Tensor,
    starts: torch.Tensor,
    widths: torch.Tensor,
    weights_by_bin: torch.Tensor,
    power: float,
    gain: float,
    floor: float,
    scale: float,
    out: torch.Tensor,
) -> None:
    """Fill `out`, float32 [batch, mel, frame], from contiguous complex64 `spectrum` [batch, frame, freq].

    `starts` and `widths` are those of `dsp.mel_bands.Bands`. `weights_by_bin` [widest, mel] is its `weights`
    transposed, and contiguous, so that the lanes read neighbouring numbers. `gain`, `floor` and `scale` are those of
    `LogCompression`.
    """
    batch, n_frames, n_bins = spectrum.shape
    widest, n_mels = weights_by_bin.shape
    if out.numel():
        with torch.cuda.device_of(spectrum):
            _mel[(n_frames * batch,)](
                torch.view_as_real(spectrum), starts, widths, weights_by_bin, out, n_frames, n_bins, n_mels, gain,
                floor, scale, WIDEST=widest, POWER=power, LANES=triton.next_power_of_2(n_mels), num_warps=4,
            )  # fmt: skip
