"""Windowed-sinc resampling on CUDA: one program makes one tile of one example's output."""

from typing import no_type_check

import torch
import triton
import triton.language as tl

LANES = 256
UNROLL = 4  # taps


@triton.jit
@no_type_check
def _resample(
    waveform,
    prototype,
    parameters,
    out,
    batch,
    time,
    length,
    last_point,
    PER_CROSSING,
    LANES: tl.constexpr,
    UNROLL: tl.constexpr,
):
    row = tl.program_id(1).to(tl.int64)
    rate, offset = tl.load(parameters + row), tl.load(parameters + batch + row)
    cutoff = tl.load(parameters + 2 * batch + row).to(tl.float32)
    reach = tl.load(parameters + 3 * batch + row).to(tl.int32)
    sample = tl.program_id(0) * LANES + tl.arange(0, LANES)
    instant = offset + sample * rate
    left = tl.floor(instant)
    fraction = (instant - left).to(tl.float32)
    left = left.to(tl.int64)
    total = tl.zeros([LANES], tl.float32)
    tap = 1 - reach
    while tap <= reach:  # not range: the interpreter cannot turn a loaded number into one
        for _ in tl.static_range(UNROLL):  # beyond `reach` the filter is zero
            index = left + tap
            x = tl.load(waveform + row * time + index, mask=(index >= 0) & (index < time), other=0.0)
            place = tl.minimum(tl.abs(tap - fraction) * cutoff * PER_CROSSING, last_point)
            point = place.to(tl.int32)
            low, high = tl.load(prototype + point), tl.load(prototype + point + 1)
            total += x * (low + (place - point) * (high - low))
            tap += 1
    tl.store(out + row * length + sample, cutoff * total, mask=sample < length)


def resample(
    waveform: torch.Tensor, prototype: torch.Tensor, parameters: torch.Tensor, per_crossing: int, length: int
) -> torch.Tensor:
    """Give [batch, length]: `waveform` low-passed at times ``offset + o * rate``.

    Parameters
    ----------
    waveform : float32 [batch, time], contiguous
    prototype : float32 [point]
        One side of a windowed sinc, `per_crossing` points for each zero crossing; its last two points are zero.
    parameters : float64 [4, batch]
        Rate, offset, cutoff as a share of the Nyquist frequency, and samples reached on each side.
    """
    batch, time = waveform.shape
    out = waveform.new_empty(batch, length)
    if out.numel():
        with torch.cuda.device_of(waveform):
            _resample[triton.cdiv(length, LANES), batch](
                waveform, prototype, parameters.contiguous(), out, batch, time, length, float(len(prototype) - 2),
                float(per_crossing), LANES=LANES, UNROLL=UNROLL,
            )  # fmt: skip
    return out
