"""Windowed-sinc resampling on CUDA: one program computes LANES output samples of one example.

`gtzan_stream.dsp.resample` has the formulas. Each product looks its weight up in the prototype filter, interpolated
linearly. The table, 59 kB, stays in the cache.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl

LANES = 256
UNROLL = 4  # taps in one pass of the loop


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
    points_per_crossing,
    LANES: tl.constexpr,
    UNROLL: tl.constexpr,
):
    tiles = tl.cdiv(length, LANES)
    row = (tl.program_id(0) // tiles).to(tl.int64)
    rate, offset = tl.load(parameters + row), tl.load(parameters + batch + row)
    cutoff = tl.load(parameters + 2 * batch + row).to(tl.float32)
    half_width = tl.load(parameters + 3 * batch + row).to(tl.int32)
    sample = tl.program_id(0) % tiles * LANES + tl.arange(0, LANES)
    position = offset + sample * rate
    left = tl.floor(position)
    fraction = (position - left).to(tl.float32)
    left = left.to(tl.int64)
    total = tl.zeros([LANES], tl.float32)
    tap = 1 - half_width
    while tap <= half_width:  # Triton's interpreter cannot run range() over a loaded number
        for _ in tl.static_range(UNROLL):  # may go beyond half_width, where the filter is 0
            index = left + tap
            x = tl.load(waveform + row * time + index, mask=(index >= 0) & (index < time), other=0.0)
            point = tl.minimum(tl.abs(tap - fraction) * cutoff * points_per_crossing, last_point)
            low_point = point.to(tl.int32)
            low, high = tl.load(prototype + low_point), tl.load(prototype + low_point + 1)
            total += x * (low + (point - low_point) * (high - low))
            tap += 1
    tl.store(out + row * length + sample, cutoff * total, mask=sample < length)


def resample(
    waveform: torch.Tensor, prototype: torch.Tensor, parameters: torch.Tensor, points_per_crossing: int, length: int
) -> torch.Tensor:
    """Return the low-passed `waveform` at positions ``offset + o * rate``: float32 [batch, length].

    Parameters
    ----------
    waveform : float32 [batch, time], contiguous
    prototype : float32 [point]
        One side of a windowed sinc, `points_per_crossing` points for each zero crossing; the last two points are 0.
    parameters : float64 [4, batch]
        Rate, offset, cutoff as a share of the input's Nyquist frequency, and half width of the filter in samples.
    """
    batch, time = waveform.shape
    out = waveform.new_empty(batch, length)
    if out.numel():
        with torch.cuda.device_of(waveform):
            _resample[(triton.cdiv(length, LANES) * batch,)](
                waveform, prototype, parameters.contiguous(), out, batch, time, length, float(len(prototype) - 2),
                float(points_per_crossing), LANES=LANES, UNROLL=UNROLL,
            )  # fmt: skip
    return out
