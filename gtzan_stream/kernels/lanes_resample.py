"""Resampling of one row on one CPU core, in vectors of L samples, by way of a signal at twice the input's rate.

`gtzan_stream.dsp.resample` has the formulas. The sharp filter h would need coefficients of its own for each output
sample. Instead, h is evaluated only at the input samples and half way between them, where its coefficients are always
the same: that makes a smooth signal u with two samples for each input sample. A filter of 16 taps, which depend on the
fraction of a sample, is then enough to read u at any time. The work is done in blocks of ``SEGMENT * L`` input samples:

    waveform  --copy_block----->  flat    the block's samples, with zeros beyond the ends of the row
              --transpose------>  lanes   [SEGMENT + 2 * width, lane]   lane l begins l * SEGMENT samples later
              --_double_rate--->  both    [2 * SEGMENT, lane]           h at both times of each input sample
              --transpose------>  u       in order again
              --_filter_block-->  out     16 samples of u for each output sample

In lanes, the samples t before and after L input samples are vectors that begin at a multiple of L, and four input
samples, one after another, share all but two of them, so the sum over t is limited by arithmetic alone.
"""

from typing import no_type_check

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gtzan_stream.kernels.compiled import compiled
from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.numba_resample import BATCH, TAPS, copy_block, locate
from gtzan_stream.kernels.vector import broadcast, fma, load, splat, store
from gtzan_stream.kernels.vector_blocks import transpose
from gtzan_stream.kernels.vector_code import INT, INTS, call, code, is_flat

SEGMENT = 64  # input samples of one lane in a block
_ZERO = np.float32(0)


@no_type_check
def _sums(builder, rows):
    """Return a vector with the sum of the lanes of row i in lane i.

    Each round adds the second half of each group of lanes to the first, and makes one vector of two. The order of
    additions does not depend on L, if rows of 16 numbers come as the sum of two vectors of 8.
    """
    width = LANES
    while len(rows) > 1:
        halves = [[i for i in range(2 * LANES) if i % width // (width // 2) == half] for half in (0, 1)]
        first, second = (ir.Constant(INTS, half) for half in halves)
        rows = [
            builder.fadd(builder.shuffle_vector(a, b, first), builder.shuffle_vector(a, b, second))
            for a, b in zip(rows[::2], rows[1::2], strict=True)
        ]
        width //= 2
    return rows[0]


@intrinsic
@no_type_check
def _filter_block(typing_context, u, places, table, rows, weights, first, out):
    """Compute ``out[first : first + L]``: L sums of 16 samples of `u` under two rows of `table`, interpolated."""

    def write(builder, u, places, table, rows, weights, first, out):
        sums = []
        for i in range(LANES):
            place, row = (builder.sext(array.load(first, i, INT), first.type) for array in (places, rows))
            weight, products = weights.broadcast(first, i), []
            for tap in range(0, TAPS, LANES):
                low, high = table.load(row, tap), table.load(row, tap + TAPS)
                taps = call(builder, "fma", weight, builder.fsub(high, low), low)
                products.append(builder.fmul(taps, u.load(place, tap)))
            sums.append(products[0] if len(products) == 1 else builder.fadd(*products))
        out.store(_sums(builder, sums), first)

    flat = is_flat(u, table, weights, out) and is_flat(places, rows, dtypes=(types.int32,))
    return (types.void(u, places, table, rows, weights, types.intp, out), code(write)) if flat else None


@compiled()
@no_type_check
def _double_rate(lanes, taps, both):
    """Fill `both` [2 * SEGMENT, lane] with the filtered signal at the input samples and half a sample after each."""
    width = len(taps) // 2
    for i in range(0, SEGMENT, 4):
        before, ahead = i * LANES, (i + 2 * width) * LANES
        # a: samples t before i to i + 3; b: t + 1 after them. The smallest products come first, which rounds least.
        a0, a1 = load(lanes, before), load(lanes, before + LANES)
        a2, a3 = load(lanes, before + 2 * LANES), load(lanes, before + 3 * LANES)
        b0, b1 = load(lanes, ahead), load(lanes, ahead + LANES)
        b2, b3 = load(lanes, ahead + 2 * LANES), load(lanes, ahead + 3 * LANES)
        x0 = x1 = x2 = x3 = y0 = y1 = y2 = y3 = splat(_ZERO)
        for tap in range(2 * width, 0, -2):
            before, ahead = before + LANES, ahead - LANES
            h = broadcast(taps, tap)
            x0, x1, x2, x3 = fma(h, a0 + b0, x0), fma(h, a1 + b1, x1), fma(h, a2 + b2, x2), fma(h, a3 + b3, x3)
            a0, a1, a2, a3 = a1, a2, a3, load(lanes, before + 3 * LANES)
            h = broadcast(taps, tap - 1)
            y0, y1, y2, y3 = fma(h, a0 + b0, y0), fma(h, a1 + b1, y1), fma(h, a2 + b2, y2), fma(h, a3 + b3, y3)
            b0, b1, b2, b3 = load(lanes, ahead), b0, b1, b2
        h = broadcast(taps, 0)
        x0, x1, x2, x3 = fma(h, a0, x0), fma(h, a1, x1), fma(h, a2, x2), fma(h, a3, x3)
        to = 2 * i * LANES
        store(both, to, x0)
        store(both, to + LANES, y0)
        store(both, to + 2 * LANES, x1)
        store(both, to + 3 * LANES, y1)
        store(both, to + 4 * LANES, x2)
        store(both, to + 5 * LANES, y2)
        store(both, to + 6 * LANES, x3)
        store(both, to + 7 * LANES, y3)


@compiled()
@no_type_check
def resample(waveform, taps, table, rate, offset, memory, out):
    """Fill `out` [length] with `waveform` [time] at positions ``offset + o * rate``, all contiguous float32.

    `taps` and `table` are those of `numba_resample.resample`. `memory`, float32, has `scratch_size` numbers.
    """
    width, n = len(taps) // 2, SEGMENT * LANES
    elements = -(-(SEGMENT + 2 * width) // LANES) * LANES
    flat, end = memory[: n - SEGMENT + elements], n - SEGMENT + elements
    lanes, end = memory[end : end + elements * LANES], end + elements * LANES
    both, end = memory[end : end + 2 * n], end + 2 * n
    u, end = memory[end : end + 2 * n], end + 2 * n
    weights, results = memory[end : end + BATCH], memory[end + BATCH : end + 2 * BATCH]
    places, rows = np.zeros(BATCH, np.int32), np.zeros(BATCH, np.int32)
    done = 0
    while done < len(out):
        begin, stop, has_samples = copy_block(waveform, width, n, rate, offset, done, len(out), flat)
        if not has_samples:
            out[done:stop] = _ZERO
            done = stop
            continue
        for i in range(0, elements, LANES):
            transpose(flat, i, SEGMENT, lanes, i * LANES, LANES)
        _double_rate(lanes, taps, both)
        for i in range(0, 2 * SEGMENT, LANES):
            transpose(both, i * LANES, LANES, u, i, 2 * SEGMENT)
        while done < stop:
            count = min(stop - done, BATCH)
            locate(rate, offset, done, begin, table, places[:count], rows[:count], weights[:count])
            for i in range(0, count, LANES):  # the last L may have old places at the end, for results that are not used
                _filter_block(u, places, table, rows, weights, i, results)
            out[done : done + count] = results[:count]
            done += count


def scratch_size(half_width: int) -> int:
    """Return how many numbers `resample` needs for intermediate results."""
    elements = -(-(SEGMENT + 2 * half_width) // LANES) * LANES
    return (LANES + 1) * elements + (5 * LANES - 1) * SEGMENT + 2 * BATCH
