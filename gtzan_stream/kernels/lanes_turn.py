"""One step of the phase-locked vocoder's recursion: an output frame is turned by what the frame before was turned.

`gtzan_stream.dsp.locked` has the formulas. A vector holds L neighbouring bins of one frame. A frame has all real parts,
then all imaginary parts: [2, n], with n a multiple of 16.
"""

import math
from typing import no_type_check

import numpy as np

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.compiled import compiled
from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.vector import fma, integer_at, load, splat, sqrt, store, where_less

PADDING = 16
"""Zeros before and after the bins that are smoothed; at least the largest half width."""
_ZERO, _ONE = np.float32(0), np.float32(1)
_RISE, _ONSET_WEIGHT = np.float32(constants.RISE), np.float32(constants.ONSET_WEIGHT)


@compiled()
@no_type_check
def powers(angle, n, phasor):
    """Fill `phasor` [2, n] with exp(i k angle): the first 16 one by one, then twice as many at each step."""
    for k in range(16):
        phasor[k], phasor[n + k] = math.cos(k * angle), math.sin(k * angle)
    m = 16
    while m < n:
        factor_re, factor_im = splat(np.float32(math.cos(m * angle))), splat(np.float32(math.sin(m * angle)))
        for k in range(0, min(m, n - m), LANES):
            re, im = load(phasor, k), load(phasor, n + k)
            store(phasor, m + k, fma(re, factor_re, -(im * factor_im)))
            store(phasor, n + m + k, fma(re, factor_im, im * factor_re))
        m *= 2


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


@compiled()
@no_type_check
def smooth_and_turn(rotation, tables, now, n, limits, turned):
    """Replace B in `now` by Y, and copy it to `turned`.

    The triangle of half width K is the sum of K + 1 boxes: one bin, three bins, and so on.
    """
    one, zero, silent, factor = splat(_ONE), splat(_ZERO), splat(limits[0]), splat(limits[2])
    plane = PADDING + n + PADDING
    for k in range(0, n, LANES):
        re, im, size = PADDING + k, plane + PADDING + k, 2 * plane + PADDING + k
        box_re, box_im, box_size = load(rotation, re), load(rotation, im), load(rotation, size)
        sum_re, sum_im, sum_size = box_re, box_im, box_size
        for m in range(1, integer_at(tables.widest, k // LANES) + 1):
            near = load(tables.is_near, (m - 1) * n + k)
            box_re = box_re + (load(rotation, re - m) + load(rotation, re + m))
            box_im = box_im + (load(rotation, im - m) + load(rotation, im + m))
            box_size = box_size + (load(rotation, size - m) + load(rotation, size + m))
            sum_re, sum_im = fma(near, box_re, sum_re), fma(near, box_im, sum_im)
            sum_size = fma(near, box_size, sum_size)
        br, bi = load(now, k), load(now, n + k)
        length, least = sqrt(fma(sum_re, sum_re, sum_im * sum_im)), factor * sum_size
        scale = one / where_less(length, least, least, length)
        ur, ui = where_less(silent, length, sum_re * scale, one), where_less(silent, length, sum_im * scale, zero)
        yr, yi = fma(br, ur, -(bi * ui)), fma(br, ui, bi * ur)
        store(now, k, yr)
        store(now, n + k, yi)
        store(turned, k, yr)
        store(turned, n + k, yi)
