"""Fourier transforms of L complex signals side by side, in lanes.

**Layout.** `gtzan_stream.kernels.vector` has the layout of real signals. A complex number of all L signals is two
vectors, L real parts and then L imaginary parts, so complex element m is at position ``2 * L * m``. A real signal of
n_fft samples *is* a complex one of n = n_fft / 2, without moving anything: z[m] = x[2 m] + i x[2 m + 1]. With L = 4:

    position   0   re a0  re b0  re c0  re d0   <- z[0]      0   x[0] of the signals a b c d
               4   im a0  im b0  im c0  im d0                4   x[1]
               8   re a1  re b1  re c1  re d1   <- z[1]      8   x[2]
              12   im a1  im b1  im c1  im d1               12   x[3]

**The complex FFT** `fft` works in place and splits n by decimation in frequency. The first pass takes elements j,
j + m, j + 2 m, ... (m = n / r), computes their butterfly of radix r, multiplies result p by the twiddle
exp(-2 pi i j p / n), and writes it to block p. Block p then holds a smaller problem of m elements: the bins k with
k % r = p. The next pass does the same inside each block:

    n = 8     z0 z1 z2 z3 z4 z5 z6 z7
    radix 2    '-----------'              j = 0: z0 and z4; j = 1: z1 and z5; ...
              [even bins ][odd bins  ]    two blocks of 4
    radix 4    '--'--'--'                 one butterfly in each block
    bins      Z0 Z2 Z4 Z6 Z1 Z3 Z5 Z7     the order at the end: bin k is at `places[k]`

All passes over one block follow each other while the block is in the L1 cache.

`gtzan_stream.kernels.lanes_rfft` makes the transform of real signals of it.
"""

from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np
from numba import types
from numba.extending import intrinsic

from gtzan_stream.kernels.compiled import compiled
from gtzan_stream.kernels.complex_code import BUTTERFLIES, broadcast_complex, load_complex, store_complex
from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.vector_code import code, is_flat

SMALLEST, LARGEST = 32, 2**15
"""Lengths of real signals: at least a block of 2 * 16 samples, and 16 signals take at most 2 MB, to stay in a cache."""

STEP = 2 * LANES
"""Distance in memory from one complex number of all signals to the next."""


class Plan(NamedTuple):
    """Tables for real signals of one length.

    radices : int64 [pass]
    offsets : int64 [pass], where the twiddles of a pass begin in `twiddles`
    twiddles : float32, complex [j, p] of each pass, p from 1 on, real and imaginary part side by side
    places : int64 [n], where bin k of the complex FFT is
    roots : float32 [2 * (n // 2 + 1)], exp(-2 pi i k / n_fft)
    """

    radices: np.ndarray
    offsets: np.ndarray
    twiddles: np.ndarray
    places: np.ndarray
    roots: np.ndarray


@cache
def plan(n_fft: int) -> Plan | None:
    """Return the tables for real signals of `n_fft` samples, or None for other lengths."""
    if not SMALLEST <= n_fft <= LARGEST or n_fft % 2 or (radices := _radices(n_fft // 2)) is None:
        return None
    n = size = n_fft // 2
    twiddles, offsets, places, k = [], [0], np.zeros(n, np.int64), np.arange(n)
    for radix in radices:
        m = size // radix
        places += k % radix * m
        k //= radix
        twiddles.append(_roots_of_unity(np.arange(m)[:, None] * np.arange(1, radix), size))
        offsets.append(offsets[-1] + len(twiddles[-1]))
        size = m
    roots = _roots_of_unity(np.arange(n // 2 + 1), n_fft)
    return Plan(np.array(radices), np.array(offsets[:-1]), np.concatenate(twiddles), places, roots)


def _radices(n: int) -> list[int] | None:
    """Factor n into radices; as many of 8 as leave no single factor 2, which costs a whole pass."""
    radices = []
    while n % 8 == 0 and n & -n != 16:  # n & -n is the largest power of two in n; 16 becomes 4 * 4
        radices.append(8)
        n //= 8
    for radix in (4, 2, 5, 3):
        while n % radix == 0:
            radices.append(radix)
            n //= radix
    return radices if n == 1 else None


def _roots_of_unity(k: np.ndarray, n: int) -> np.ndarray:
    """Return exp(-2 pi i k / n), flat, real and imaginary part side by side."""
    angle = -2 * np.pi * k.ravel() / n
    return np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32).ravel()


@no_type_check
def _butterfly(radix, is_last):
    """Make the butterfly of elements `step` apart in a buffer, with multiplication by twiddles unless `is_last`."""

    @intrinsic
    def butterfly(typing_context, buffer, position, step, twiddles, first):
        def write(builder, buffer, position, step, twiddles, first):
            positions = [position]
            for _ in range(1, radix):
                positions.append(builder.add(positions[-1], step))
            result = BUTTERFLIES[radix](*(load_complex(builder, buffer, position) for position in positions))
            for p, z in enumerate(result):
                if p and not is_last:
                    z = z * broadcast_complex(builder, twiddles, first, 2 * (p - 1))
                store_complex(buffer, z, positions[p])

        arguments = buffer, types.intp, types.intp, twiddles, types.intp
        return (types.void(*arguments), code(write)) if is_flat(buffer, twiddles) else None

    return butterfly


_butterfly2, _butterfly3, _butterfly4, _butterfly5, _butterfly8 = (_butterfly(r, False) for r in (2, 3, 4, 5, 8))
_last2, _last3, _last4, _last5, _last8 = (_butterfly(r, True) for r in (2, 3, 4, 5, 8))


@compiled()
@no_type_check
def _pass(buffer, radix, m, twiddles, offset):
    """Compute the butterflies of all blocks of ``radix * m`` elements."""
    step = m * STEP
    for block in range(0, len(buffer), radix * step):
        for j in range(m):
            position, first = block + j * STEP, offset + j * 2 * (radix - 1)
            if m == 1:
                if radix == 8:
                    _last8(buffer, position, step, twiddles, first)
                elif radix == 5:
                    _last5(buffer, position, step, twiddles, first)
                elif radix == 4:
                    _last4(buffer, position, step, twiddles, first)
                elif radix == 3:
                    _last3(buffer, position, step, twiddles, first)
                else:
                    _last2(buffer, position, step, twiddles, first)
            elif radix == 8:
                _butterfly8(buffer, position, step, twiddles, first)
            elif radix == 5:
                _butterfly5(buffer, position, step, twiddles, first)
            elif radix == 4:
                _butterfly4(buffer, position, step, twiddles, first)
            elif radix == 3:
                _butterfly3(buffer, position, step, twiddles, first)
            else:
                _butterfly2(buffer, position, step, twiddles, first)


@compiled()
@no_type_check
def fft(buffer, plan):
    """Transform L complex signals of n numbers in `buffer`, float32 [n * 2 * L]; bin k is then at `plan.places[k]`."""
    radices, offsets = plan.radices, plan.offsets
    n, m = len(plan.places), len(plan.places) // radices[0]
    _pass(buffer, radices[0], m, plan.twiddles, offsets[0])
    for block in range(0, n * STEP, m * STEP):
        part, size = buffer[block : block + m * STEP], m
        for i in range(1, len(radices)):
            size //= radices[i]
            _pass(part, radices[i], size, plan.twiddles, offsets[i])
