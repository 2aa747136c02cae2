"""From the spectrum to the compressed mel bands on CUDA: one program makes all bands of one frame."""

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
    frame, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    band = tl.arange(0, LANES)
    inside = band < n_mels
    start = tl.load(starts + band, mask=inside, other=0)
    width = tl.load(widths + band, mask=inside, other=0)
    source = spectrum + (row * n_frames + frame) * n_bins * 2
    total = tl.zeros([LANES], tl.float32)
    for k in range(WIDEST):
        used = k < width
        real = tl.load(source + 2 * (start + k), mask=used, other=0.0)
        imag = tl.load(source + 2 * (start + k) + 1, mask=used, other=0.0)
        value = real * real + imag * imag
        if POWER == 1.0:
            value = tl.sqrt_rn(value)
        elif POWER != 2.0:
            value = tl.where(value > 0, tl.exp(tl.log(value) * (0.5 * POWER)), 0.0)
        total += tl.load(weights + band * WIDEST + k, mask=used, other=0.0) * value
    raised = 1.0 + gain * total
    rest = (gain * total - (raised - 1.0)) / raised
    result = tl.where(gain > 0, tl.log(raised) + rest, tl.log(tl.maximum(total, floor)))
    tl.store(out + (row * n_mels + band) * n_frames + frame, scale * result, mask=inside)


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

    As its namesake for the CPU; `weights` is [mel, widest].
    """
    batch, n_frames, n_bins = spectrum.shape
    n_mels, widest = weights.shape
    if out.numel():
        with torch.cuda.device_of(spectrum):
            _mel[(n_frames, batch)](
                torch.view_as_real(spectrum), starts, widths, weights, out, n_frames, n_bins, n_mels, gain, floor,
                scale, WIDEST=widest, POWER=power, LANES=triton.next_power_of_2(n_mels), num_warps=4,
            )  # fmt: skip
