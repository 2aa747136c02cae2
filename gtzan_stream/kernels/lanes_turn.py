"""One step of the phase-locked vocoder's recursion: an output frame is turned by what the frame before was turned.

`gtzan_stream.dsp.locked` has the formulas. A vector holds L neighbouring bins of one frame. A frame has all real parts,
then all imaginary parts: [2, n], with n a multiple of 16.
"""

import math
from typing import no_type_check

import numpy as np
from numba import types
from numba.extending import intrinsic

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.compiled import compiled
from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.vector import fma, load, splat, sqrt, store, vector, where_less
from gtzan_stream.kernels.vector_code import call, code, is_flat, neighbours

PADDING = 16
"""Zeros before and after the bins that are smoothed: at least a vector, and as many as the largest half width."""
_ZERO, _ONE = np.float32(0), np.float32(1)
_RISE, _ONSET_WEIGHT = np.float32(constants.RISE), np.float32(constants.ONSET_WEIGHT)


@compiled()
@no_type_check
def powers(angle, n, phasor):
    """Fill `phasor` [2, n] with exp(i k angle): the first 16 one by one, then twice as many at each step."""
    re, im, step_re, step_im = 1.0, 0.0, math.cos(angle), math.sin(angle)
    for k in range(16):
        phasor[k], phasor[n + k] = re, im
        re, im = re * step_re - im * step_im, re * step_im + im * step_re
    m = 16
    while m < n:
        factor_re, factor_im = splat(np.float32(re)), splat(np.float32(im))
        for k in range(0, min(m, n - m), LANES):
            low_re, low_im = load(phasor, k), load(phasor, n + k)
            store(phasor, m + k, fma(low_re, factor_re, -(low_im * factor_im)))
            store(phasor, n + m + k, fma(low_re, factor_im, low_im * factor_re))
        m, re, im = 2 * m, re * re - im * im, 2 * re * im


@compiled()
@no_type_check
def rotations(turned, now, past, phasor, n, rotation):
    """Fill `rotation` with Z of a frame, what turns its bins and the onsets, and |Z|."""
    zero, factor, weight = splat(_ZERO), splat(_RISE), splat(_ONSET_WEIGHT)
    plane = PADDING + n + PADDING
    for k in range(0, n, LANES):
        yr, yi = load(turned, k), load(turned, n + k)
        br, bi = load(now, k), load(now, n + k)
        ar, ai = load(past, k), load(past, n + k)
        rise = fma(br, br, bi * bi) - factor * fma(ar, ar, ai * ai)
        rise = where_less(zero, rise, weight * rise, zero)
        zr = fma(rise, load(phasor, k), fma(yr, ar, yi * ai))
        zi = fma(rise, load(phasor, n + k), fma(yi, ar, -(yr * ai)))
        store(rotation, PADDING + k, zr)
        store(rotation, plane + PADDING + k, zi)
        store(rotation, 2 * plane + PADDING + k, sqrt(fma(zr, zr, zi * zi)))


@intrinsic
@no_type_check
def _smooth(typing_context, x, position, is_near, n, k):
    """Return L sums over neighbours under a triangle, for bins `k` to ``k + L - 1``, which are at `position` in `x`.

    The triangle of half width K is the sum of K + 1 boxes: one bin, three bins, and so on. The neighbours at a distance
    m are taken from three vectors in registers, as reading across the lines of the cache would take twice as long.
    """

    def write(builder, x, position, is_near, n, k):
        before, here, after = (x.load(position, offset) for offset in (-LANES, 0, LANES))
        box = total = here
        for m in range(1, constants.WIDEST + 1):
            left = neighbours(builder, before, here, LANES - m)
            box = builder.fadd(box, builder.fadd(left, neighbours(builder, here, after, m)))
            total = call(builder, "fma", is_near.load(k), box, total)
            k = builder.add(k, n)
        return total

    i = types.intp
    return (vector(x, i, is_near, i, i), code(write)) if is_flat(x, is_near) else None


@compiled()
@no_type_check
def smooth_and_turn(rotation, is_near, now, n, limits, turned):
    """Replace B in `now` by Y, and copy it to `turned`."""
    one, zero, silent, factor = splat(_ONE), splat(_ZERO), splat(limits[0]), splat(limits[2])
    plane = PADDING + n + PADDING
    for k in range(0, n, LANES):
        sum_re = _smooth(rotation, PADDING + k, is_near, n, k)
        sum_im = _smooth(rotation, plane + PADDING + k, is_near, n, k)
        least = factor * _smooth(rotation, 2 * plane + PADDING + k, is_near, n, k)
        br, bi = load(now, k), load(now, n + k)
        length = sqrt(fma(sum_re, sum_re, sum_im * sum_im))
        scale = one / where_less(length, least, least, length)
        ur, ui = where_less(silent, length, sum_re * scale, one), where_less(silent, length, sum_im * scale, zero)
        yr, yi = fma(br, ur, -(bi * ui)), fma(br, ui, bi * ur)
        store(now, k, yr)
        store(now, n + k, yi)
        store(turned, k, yr)
        store(turned, n + k, yi)
