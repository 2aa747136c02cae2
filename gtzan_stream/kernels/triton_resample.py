"""Windowed-sinc resampling on CUDA: one program computes LANES output samples of one example.

`gtzan_stream.dsp.resample` has the formulas. A thread goes outward from its output sample's time, with a tap on each
side. The sine of the sinc turns by the same angle from tap to tap, so it is rotated, not computed; rounding errors
grow with the distance, by which the sinc divides them again. The Kaiser window is a polynomial. Together that is about
20 instructions a tap, without a table: its elements would be read one thread at a time.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.triton_random import _sine_cosine

LANES = 256
UNROLL = 2  # taps on each side in one pass of the loop
K0, K1, K2, K3, K4, K5, K6, K7 = (tl.constexpr(number) for number in constants.KAISER)


@triton.jit
@no_type_check
def _kaiser(u):
    """Evaluate the Kaiser window at the square u of the distance, 1 at its end, beyond which it is 0."""
    bell = K7 * u + K6
    bell = ((bell * u + K5) * u + K4) * u + K3
    bell = ((bell * u + K2) * u + K1) * u + K0
    return tl.where(u < 1.0, bell, 0.0)


@triton.jit
@no_type_check
def _resample(
    waveform, parameters, out, batch, time, length, squared_end, LANES: tl.constexpr, UNROLL: tl.constexpr
):  # fmt: skip
    tiles = tl.cdiv(length, LANES)
    row = (tl.program_id(0) // tiles).to(tl.int64)
    rate, offset = tl.load(parameters + row), tl.load(parameters + batch + row)
    cutoff = tl.load(parameters + 2 * batch + row).to(tl.float32)
    half_width = tl.load(parameters + 3 * batch + row).to(tl.int32)
    sample = tl.program_id(0) % tiles * LANES + tl.arange(0, LANES)
    position = offset + sample * rate
    floor = tl.floor(position)
    fraction = (position - floor).to(tl.float32)
    # Distances to the input samples before and after the position: not 0, where the sinc is 0 / 0. Near 0 it is 1.
    before, after = tl.maximum(fraction, 1e-12), tl.maximum(1.0 - fraction, 1e-12)
    index = floor.to(tl.int64)
    start = waveform + row * time
    before_sine, before_cosine = _sine_cosine(0.5 * cutoff * before)
    after_sine, after_cosine = _sine_cosine(0.5 * cutoff * after)
    step_sine, step_cosine = _sine_cosine(0.5 * cutoff)
    total = tl.zeros([LANES], tl.float32)
    tap = 0
    while tap < half_width:  # Triton's interpreter cannot run range() over a loaded number
        for _ in tl.static_range(UNROLL):  # may go beyond half_width, where the filter is 0
            left, right = index - tap, index + 1 + tap
            a = tl.load(start + left, mask=(left >= 0) & (left < time), other=0.0)
            b = tl.load(start + right, mask=(right >= 0) & (right < time), other=0.0)
            a_crossings, b_crossings = (before + tap) * cutoff, (after + tap) * cutoff
            a *= before_sine * _kaiser(a_crossings * a_crossings * squared_end)
            b *= after_sine * _kaiser(b_crossings * b_crossings * squared_end)
            # a / a_crossings + b / b_crossings, by one division
            total += (a * b_crossings + b * a_crossings) / (a_crossings * b_crossings)
            before_sine, before_cosine = (
                before_sine * step_cosine + before_cosine * step_sine,
                before_cosine * step_cosine - before_sine * step_sine,
            )
            after_sine, after_cosine = (
                after_sine * step_cosine + after_cosine * step_sine,
                after_cosine * step_cosine - after_sine * step_sine,
            )
            tap += 1
    tl.store(out + row * length + sample, cutoff / 3.141592653589793 * total, mask=sample < length)


def resample(waveform: torch.Tensor, parameters: torch.Tensor, zero_crossings: int, length: int) -> torch.Tensor:
    """Return the low-passed `waveform` at positions ``offset + o * rate``: float32 [batch, length].

    Parameters
    ----------
    waveform : float32 [batch, time], contiguous
    parameters : float64 [4, batch]
        Rate, offset, cutoff as a share of the input's Nyquist frequency, at most 1, and half width of the filter in
        samples.
    zero_crossings : int
        Zero crossings of the filter on each side.
    """
    batch, time = waveform.shape
    out = waveform.new_empty(batch, length)
    if out.numel():
        with torch.cuda.device_of(waveform):
            _resample[(triton.cdiv(length, LANES) * batch,)](
                waveform, parameters.contiguous(), out, batch, time, length, zero_crossings**-2.0, LANES=LANES,
                UNROLL=UNROLL,
            )  # fmt: skip
    return out
