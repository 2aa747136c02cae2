"""Windowed-sinc resampling on CUDA: the filter as polynomials of the fraction of a sample, one for each tap and row.

`gtzan_stream.dsp.resample` has the formulas. An output sample lies at the fraction f between two input samples. With
``v = 2 f - 1``, tap t on the left side is ``t + (1 + v) / 2`` samples away, and on the right side ``t + (1 - v) / 2``.
So both sides have the polynomial ``g(v) = h(t + (1 + v) / 2)``, with v and -v:

    left g(v) + right g(-v) = sum over even p of c[t, p] v^p (left + right)
                            + sum over odd p of c[t, p] v^p (left - right)

As v is the same for all taps, `_resample` sums ``c[t, p] (left +- right)`` over t for each p, and multiplies by v^p at
the end: 10 instructions for two taps, besides two loads. `_fit` computes the coefficients of each row, which depend on
its cutoff, from the filter at the 16 Chebyshev points of the interval, divided by the sum of all taps there. A fit of
such filters has the sum 1, too, at all fractions. White noise has a relative error of 8e-7.

At rate 1 and a whole offset, `_resample` copies samples.

A thread computes several output samples, so that a coefficient that it has loaded is used several times. Programs with
all taps inside the row do not compare positions with its ends.
"""

from typing import no_type_check

import numpy as np
import torch
import triton
import triton.language as tl

from gtzan_stream.kernels import constants

LANES = 512  # output samples of one program
TAPS = 32  # taps of which one program computes the coefficients
UNROLL = 2  # taps on each side in one pass of the loop
TERMS = 8  # coefficients of a polynomial
K0, K1, K2, K3, K4, K5, K6, K7 = (tl.constexpr(number) for number in constants.KAISER)
S0, S1, S2, S3, S4, S5 = (tl.constexpr(number) for number in constants.SIN)
_POINTS = np.cos(np.pi * (np.arange(16) + 0.5) / 16)
POINTS = tl.constexpr(tuple(_POINTS.tolist()))
WEIGHTS = tl.constexpr(tuple(np.linalg.pinv(np.vander(_POINTS, TERMS, increasing=True)).T.ravel().tolist()))
"""How much the filter at each point adds to each coefficient, [point, term]: the least-squares fit."""


@triton.jit
@no_type_check
def _filter(crossings, squared_end):
    """Evaluate the windowed sinc at distances above 0, in zero crossings."""
    nearest = tl.floor(crossings + 0.5)
    t = crossings - nearest
    z = t * t
    sine = S5 * z + S4
    sine = ((sine * z + S3) * z + S2) * z + S1
    sine = (sine * z + S0) * t * tl.where(nearest.to(tl.int32) % 2 == 0, 1.0, -1.0)
    r = tl.maximum(1.0 - crossings * crossings * squared_end, 0.0)
    bell = K7 * r + K6
    bell = ((bell * r + K5) * r + K4) * r + K3
    bell = (((bell * r + K2) * r + K1) * r + K0) * r
    return bell * sine / (3.141592653589793 * crossings)


@triton.jit
@no_type_check
def _fit(parameters, coefficients, batch, n_taps, squared_end, TERMS: tl.constexpr, TAPS: tl.constexpr):
    tiles = tl.cdiv(n_taps, TAPS)
    row = (tl.program_id(0) // tiles).to(tl.int64)
    cutoff = tl.load(parameters + 2 * batch + row).to(tl.float32)
    # If point i is v, point 15 - i is -v, which the taps on the other side have. So both have the same sum of all taps.
    totals = ()
    for _ in tl.static_range(8):
        totals = totals + (tl.zeros([TAPS], tl.float64),)  # noqa: RUF005
    first = 0
    while first < n_taps:
        added = ()
        for i in tl.static_range(8):
            left = _filter((first + tl.arange(0, TAPS) + 0.5 * (1.0 + POINTS[i])) * cutoff, squared_end)
            right = _filter((first + tl.arange(0, TAPS) + 0.5 * (1.0 - POINTS[i])) * cutoff, squared_end)
            added = added + (totals[i] + left + right,)  # noqa: RUF005
        totals = added
        first += TAPS
    tap = tl.program_id(0) % tiles * TAPS + tl.arange(0, TAPS)
    sums = ()
    for _ in tl.static_range(TERMS):
        sums = sums + (tl.zeros([TAPS], tl.float64),)  # noqa: RUF005
    for i in tl.static_range(16):
        total = tl.sum(totals[i if i < 8 else 15 - i], 0)
        h = _filter((tap + 0.5 * (1.0 + POINTS[i])) * cutoff, squared_end).to(tl.float64) / total
        added = ()
        for p in tl.static_range(TERMS):
            added = added + (sums[p] + WEIGHTS[i * TERMS + p] * h,)  # noqa: RUF005
        sums = added
    for p in tl.static_range(TERMS):
        tl.store(coefficients + (row * n_taps + tap) * TERMS + p, sums[p], mask=tap < n_taps)


@triton.jit
@no_type_check
def _sum_taps(
    start, index, time, v, coefficients, half_width, TERMS: tl.constexpr, UNROLL: tl.constexpr, IS_INSIDE: tl.constexpr
):
    """Sum the filtered input around `index`; if IS_INSIDE, no tap is beyond the ends of the row."""
    left, right = start + index, start + index + 1
    sums = ()
    for _ in tl.static_range(TERMS):
        sums = sums + (tl.zeros(v.shape, tl.float32),)  # noqa: RUF005
    tap = 0
    while tap < half_width:  # Triton's interpreter cannot run range() over a loaded number
        for i in tl.static_range(UNROLL):  # may go beyond half_width, where the coefficients are 0
            if IS_INSIDE:
                a, b = tl.load(left - i), tl.load(right + i)
            else:
                at = index - (tap + i)
                a = tl.load(left - i, mask=(at >= 0) & (at < time), other=0.0)
                at = index + (tap + i + 1)
                b = tl.load(right + i, mask=(at >= 0) & (at < time), other=0.0)
            even, odd = a + b, a - b
            added = ()
            for p in tl.static_range(TERMS):
                c = tl.load(coefficients + i * TERMS + p)
                added = added + (sums[p] + c * (even if p % 2 == 0 else odd),)  # noqa: RUF005
            sums = added
        left -= UNROLL
        right += UNROLL
        coefficients += UNROLL * TERMS
        tap += UNROLL
    total = sums[TERMS - 1]
    for p in tl.static_range(TERMS - 1):
        total = total * v + sums[TERMS - 2 - p]
    return total


# If Triton knew that rows begin at a multiple of 16 bytes, it would give neighbouring samples to one thread, to store
# them at once. Each load of the taps would then touch four times as many cache lines.
@triton.jit(do_not_specialize=["length"])
@no_type_check
def _resample(
    waveform, parameters, coefficients, out, batch, time, length, n_taps, TERMS: tl.constexpr, LANES: tl.constexpr,
    UNROLL: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(length, LANES)
    row = (tl.program_id(0) // tiles).to(tl.int64)
    first = tl.program_id(0) % tiles * LANES
    rate, offset = tl.load(parameters + row), tl.load(parameters + batch + row)
    half_width = tl.load(parameters + 3 * batch + row).to(tl.int32)
    sample = first + tl.arange(0, LANES)
    position = offset + sample * rate
    floor = tl.floor(position)
    v = (2.0 * (position - floor) - 1.0).to(tl.float32)
    reach = half_width + UNROLL
    is_inside = (offset + first * rate >= reach) & (offset + (first + LANES) * rate < time - reach)
    start, table = waveform + row * time, coefficients + row * n_taps * TERMS
    if (rate == 1.0) & (offset == tl.floor(offset)):
        at = floor.to(tl.int64)
        total = tl.load(start + at, mask=(at >= 0) & (at < time), other=0.0)
    elif is_inside:
        total = _sum_taps(start, floor.to(tl.int64), time, v, table, half_width, TERMS, UNROLL, True)
    else:
        total = _sum_taps(start, floor.to(tl.int64), time, v, table, half_width, TERMS, UNROLL, False)
    tl.store(out + row * length + sample, total, mask=sample < length)


def resample(
    waveform: torch.Tensor, parameters: torch.Tensor, zero_crossings: int, max_half_width: int, length: int
) -> torch.Tensor:
    """Return the low-passed `waveform` at positions ``offset + o * rate``: float32 [batch, length].

    Parameters
    ----------
    waveform : float32 [batch, time], contiguous
    parameters : float64 [4, batch]
        Rate, offset, cutoff as a share of the input's Nyquist frequency, at most 1, and half width of the filter in
        samples.
    zero_crossings : int
        Zero crossings of the filter on each side.
    max_half_width : int
        The largest half width.
    """
    batch, time = waveform.shape
    out = waveform.new_empty(batch, length)
    if out.numel():
        n_taps = triton.cdiv(max_half_width, UNROLL) * UNROLL
        parameters, coefficients = parameters.contiguous(), waveform.new_empty(batch, n_taps, TERMS)
        with torch.cuda.device_of(waveform):
            _fit[(triton.cdiv(n_taps, TAPS) * batch,)](
                parameters, coefficients, batch, n_taps, zero_crossings**-2.0, TERMS=TERMS, TAPS=TAPS, num_warps=1
            )
            _resample[(triton.cdiv(length, LANES) * batch,)](
                waveform, parameters, coefficients, out, batch, time, length, n_taps, TERMS=TERMS, LANES=LANES,
                UNROLL=UNROLL,
            )  # fmt: skip
    return out
