"""Windowed-sinc resampling on CUDA in two steps, as on the CPU; `gtzan_stream.dsp.resample` has the formulas.

`_taps` computes the taps of a row, and `_double_rate` u, which has two samples for each input sample n:

    u[2 n]     = sum over t of x[n + t] * h(t)
    u[2 n + 1] = sum over t of x[n + t] * h(t - 1/2)

A lane has four input samples, ``4 lane`` to ``4 lane + 3``. A read of 16 bytes and eight taps are enough for 32
products, as the four samples read before are still in registers. For such reads, the first sample of a program is at a
multiple of 16 bytes. So u begins at a time before the row, `_begin`, that differs between rows. Its samples at whole
times are apart from those between, so that both are stored 16 bytes at a time.

`_read` computes an output sample from 18 samples of u, two more than the CPU, which makes its error as small as that of
h itself in float32. The output sample lies at the fraction f between two samples of u. With
``v = 2 f - 1``, tap t on the left side is ``t + (1 + v) / 2`` samples away, and on the right side ``t + (1 - v) / 2``.
So both sides have the same polynomial ``g(v)`` for the reader at ``t + (1 + v) / 2``, with v and -v:

    left g(v) + right g(-v) = sum over even p of c[t, p] v^p (left + right)
                            + sum over odd p of c[t, p] v^p (left - right)

As v is the same for all taps, it sums ``c[t, p] (left +- right)`` over t for each p, and multiplies by v^p at the end:
10 instructions for two taps, besides two loads. The coefficients are constants in the code.

At rate 1 and a whole offset, `_read` copies samples, and there is no u.
"""

from typing import no_type_check

import numpy as np
import torch
import triton
import triton.language as tl

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.triton_stft import columns, matrix

LANES = 512  # lanes of one program: a fourth of its input samples in `_double_rate`, its output samples in `_read`
TAPS = 128  # taps that `_taps` computes at once
TERMS = tl.constexpr(8)  # coefficients of a polynomial
SIDE = tl.constexpr(9)  # samples of u on each side of an output sample
BETA = 14.0  # shape of the Kaiser window of the readers
K0, K1, K2, K3, K4, K5, K6, K7 = (tl.constexpr(number) for number in constants.KAISER)
S0, S1, S2, S3, S4, S5 = (tl.constexpr(number) for number in constants.SIN)


def _polynomials() -> tuple[float, ...]:
    """Fit the polynomials of a reader's taps at the Chebyshev points of v: [tap, term]."""
    points = np.cos(np.pi * (np.arange(32) + 0.5) / 32)
    delays = np.arange(SIDE.value)[:, None] + (1 + points) / 2
    taps = np.sinc(delays) * np.i0(BETA * np.sqrt(1 - (delays / SIDE.value) ** 2))
    taps /= (taps + taps[:, ::-1]).sum(0)  # point 31 - i is -v: the taps on the other side
    fit = np.linalg.pinv(np.vander(points, TERMS.value, increasing=True))
    return tuple((taps @ fit.T).ravel().tolist())


POLYNOMIALS = tl.constexpr(_polynomials())


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
def _taps(parameters, taps, batch, n_taps, squared_end, TAPS: tl.constexpr):
    """Store h(t) and h(t - 1/2) for t from -half_width on: [batch, n_taps, 2]. Both have the sum 1."""
    row = tl.program_id(0).to(tl.int64)
    cutoff = tl.load(parameters + 2 * batch + row).to(tl.float32)
    half_width = tl.load(parameters + 3 * batch + row).to(tl.int32)
    i = tl.arange(0, TAPS)
    whole, between = tl.zeros([TAPS], tl.float64), tl.zeros([TAPS], tl.float64)
    first = 0
    while first < n_taps:
        t = (first + i - half_width).to(tl.float32)
        whole += _filter(tl.maximum(tl.abs(t), 1e-6) * cutoff, squared_end)
        between += _filter(tl.abs(t - 0.5) * cutoff, squared_end)
        first += TAPS
    total, total_between = tl.sum(whole, 0), tl.sum(between, 0)
    first = 0
    while first < n_taps:
        t = (first + i - half_width).to(tl.float32)
        target = taps + (row * n_taps + first + i) * 2
        stored = first + i < n_taps
        tl.store(target, _filter(tl.maximum(tl.abs(t), 1e-6) * cutoff, squared_end) / total, mask=stored)
        tl.store(target + 1, _filter(tl.abs(t - 0.5) * cutoff, squared_end) / total_between, mask=stored)
        first += TAPS


@triton.jit
@no_type_check
def _is_copied(rate, offset):
    return (rate == 1.0) & (offset == tl.floor(offset))


@triton.jit
@no_type_check
def _first_read(row, time, half_width, margin):
    """Return where u's first sample begins to read: a multiple of four samples from the start of `waveform`.

    That is `half_width` before its time, which is from ``-margin - 3`` to -margin. Nothing negative is divided.
    """
    return (row * time + 3 * margin - half_width) // 4 * 4 - 4 * margin


@triton.jit
@no_type_check
def _begin(row, time, half_width, margin):
    """Return the input time of u's first sample."""
    return _first_read(row, time, half_width, margin) + half_width - row * time


@triton.jit
@no_type_check
def _load_four(x, k, n, time, IS_INSIDE: tl.constexpr):
    """Load samples `k` [lane, 4] after `x`, which is time n, as columns."""
    if not IS_INSIDE:
        return columns(tl.load(x + k, mask=(n + k >= 0) & (n + k < time), other=0.0))
    return columns(tl.load(x + k))


@triton.jit
@no_type_check
def _sum_taps(x, k, n, time, taps, half_width, IS_INSIDE: tl.constexpr):
    """Sum the samples from `k` [lane, 4] after `x` on under all taps; `x` is time n.

    If IS_INSIDE, none is beyond the ends of the row.
    """
    zero = tl.zeros([k.shape[0]], tl.float32)
    sums, between = (zero, zero, zero, zero), (zero, zero, zero, zero)
    here = _load_four(x, k, n, time, IS_INSIDE)
    tap = 0
    while tap <= 2 * half_width:  # Triton's interpreter cannot run range() over a loaded number
        for _ in tl.static_range(2):  # taps beyond the last one are 0
            x += 4
            n += 4
            ahead = _load_four(x, k, n, time, IS_INSIDE)
            both = here + ahead
            for t in tl.static_range(4):
                h, h_between = tl.load(taps + 2 * t), tl.load(taps + 2 * t + 1)
                added, added_between = (), ()
                for c in tl.static_range(4):
                    added = added + (sums[c] + h * both[c + t],)  # noqa: RUF005
                    added_between = added_between + (between[c] + h_between * both[c + t],)  # noqa: RUF005
                sums, between = added, added_between
            here = ahead
            taps += 8
        tap += 8
    return matrix(sums[0], sums[1], sums[2], sums[3]), matrix(between[0], between[1], between[2], between[3])


@triton.jit
@no_type_check
def _double_rate(
    waveform, parameters, taps, u, batch, time, length, n_taps, margin, width, LANES: tl.constexpr
):  # fmt: skip
    tiles = tl.cdiv(width, 4 * LANES)
    row = (tl.program_id(0) // tiles).to(tl.int64)
    first = tl.program_id(0) % tiles * (4 * LANES)
    rate, offset = tl.load(parameters + row), tl.load(parameters + batch + row)
    half_width = tl.load(parameters + 3 * batch + row).to(tl.int32)
    begin = _begin(row, time, half_width, margin)
    at = (begin + first).to(tl.float64)
    is_read = (at <= offset + length * rate + 8.0) & (at + 4 * LANES >= offset - 8.0)
    if is_read & (not _is_copied(rate, offset)):
        start = _first_read(row, time, half_width, margin) + first
        k = 4 * tl.arange(0, LANES)[:, None] + tl.arange(0, 4)[None, :]
        n = start - row * time
        is_inside = (n >= 0) & (n + 4 * LANES + 2 * half_width + 16 < time)
        table = taps + row * n_taps * 2
        if is_inside:
            whole, between = _sum_taps(waveform + start, k, n, time, table, half_width, True)
        else:
            whole, between = _sum_taps(waveform + start, k, n, time, table, half_width, False)
        target = u + row * 2 * width + first + k
        tl.store(target, whole, mask=first + k < width)
        tl.store(target + width, between, mask=first + k < width)


# If Triton knew that rows begin at a multiple of 16 bytes, it would give neighbouring samples to one thread, to store
# them at once. Each load of the taps would then touch four times as many cache lines.
@triton.jit(do_not_specialize=["length"])
@no_type_check
def _read(
    waveform, parameters, u, out, batch, time, length, margin, width, LANES: tl.constexpr
):  # fmt: skip
    tiles = tl.cdiv(length, LANES)
    row = (tl.program_id(0) // tiles).to(tl.int64)
    sample = tl.program_id(0) % tiles * LANES + tl.arange(0, LANES)
    rate, offset = tl.load(parameters + row), tl.load(parameters + batch + row)
    half_width = tl.load(parameters + 3 * batch + row).to(tl.int32)
    if _is_copied(rate, offset):
        n = tl.floor(offset).to(tl.int64) + sample
        total = tl.load(waveform + row * time + n, mask=(n >= 0) & (n < time), other=0.0)
    else:
        position = 2.0 * (offset + sample * rate)  # in samples of u, which has them at even and at odd positions
        floor = tl.floor(position)
        v = (2.0 * (position - floor) - 1.0).to(tl.float32)
        m = floor - 2.0 * _begin(row, time, half_width, margin)
        is_inside = (m >= SIDE - 1) & (m + SIDE < 2 * width)  # else all samples around it are 0
        m = tl.where(is_inside, m, SIDE).to(tl.int32)
        start = u + row * 2 * width
        here, ahead = start + ((m & 1) * width + (m >> 1)), start + ((m + 1 & 1) * width + (m + 1 >> 1))
        sums = ()
        for _ in tl.static_range(TERMS):
            sums = sums + (tl.zeros([LANES], tl.float32),)  # noqa: RUF005
        for t in tl.static_range(SIDE - 1, -1, -1):  # the smallest products come first, which rounds least
            left = (here if t % 2 == 0 else ahead) - (t + 1) // 2
            right = (ahead if t % 2 == 0 else here) + (t + 1) // 2
            a, b = tl.load(left), tl.load(right)
            even, odd = a + b, a - b
            added = ()
            for p in tl.static_range(TERMS):
                added = added + (sums[p] + POLYNOMIALS[t * TERMS + p] * (even if p % 2 == 0 else odd),)  # noqa: RUF005
            sums = added
        total = sums[TERMS - 1]
        for p in tl.static_range(TERMS - 1):
            total = total * v + sums[TERMS - 2 - p]
        total = tl.where(is_inside, total, 0.0)
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
        n_taps = triton.cdiv(2 * max_half_width + 1, 8) * 8
        margin = max_half_width + SIDE.value  # h rings that long; beyond it, all samples that a reader covers are 0
        width = triton.cdiv(time + 2 * margin + 4, 4) * 4
        parameters, taps = parameters.contiguous(), waveform.new_empty(batch, n_taps, 2)
        u = waveform.new_empty(batch, 2, width)
        with torch.cuda.device_of(waveform):
            _taps[(batch,)](parameters, taps, batch, n_taps, zero_crossings**-2.0, TAPS=TAPS)
            _double_rate[(triton.cdiv(width, 4 * LANES) * batch,)](
                waveform, parameters, taps, u, batch, time, length, n_taps, margin, width, LANES=LANES
            )
            _read[(triton.cdiv(length, LANES) * batch,)](
                waveform, parameters, u, out, batch, time, length, margin, width, LANES=LANES
            )
    return out
