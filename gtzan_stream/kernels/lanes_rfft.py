"""Fourier transforms of L real signals side by side, in lanes, and their inverse.

A real signal of n_fft = 2 n samples is read as a complex one of n numbers, z[m] = x[2 m] + i x[2 m + 1]; in lanes
nothing has to be moved for that (see `gtzan_stream.kernels.lanes_fft`). Its transform Z mixes those of the even and of
the odd samples. `split` takes them apart and gives the bins X of the real signal, with w = exp(-2 pi i k / n_fft):

    even = Z[k] + conj(Z[n - k])          odd = -i (Z[k] - conj(Z[n - k]))
    2 X[k] = even + w odd                 2 conj(X[n - k]) = even - w odd

    bin k          0       1       2     ...   n / 2
    and n - k      n     n - 1   n - 2   ...   n / 2      both from Z[k] and Z[n - k]; the first two from Z[0]

The factor 2 is left to the window of the frames. `join` is the inverse. An inverse complex FFT is the FFT of numbers
whose real and imaginary parts are swapped, so `join` swaps them, `fft` follows, and its output is swapped, too.
"""

from typing import no_type_check

import numpy as np
from numba import types
from numba.extending import intrinsic

from gtzan_stream.kernels.compiled import compiled
from gtzan_stream.kernels.complex_code import Complex, broadcast_complex, load_complex, store_complex
from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.lanes_fft import STEP
from gtzan_stream.kernels.vector import integer_at, splat, store, vector
from gtzan_stream.kernels.vector_code import code, is_flat


@no_type_check
def even_and_odd(builder, buffer, here, mirrored, roots, index):
    """Generate the sum of Z[k] at `here` and its mirror image, and their difference times w, as explained above."""
    z, mirror = load_complex(builder, buffer, here), load_complex(builder, buffer, mirrored).conjugate()
    return z + mirror, (z - mirror).times_minus_i() * broadcast_complex(builder, roots, index)


@intrinsic
@no_type_check
def _split(typing_context, buffer, here, mirrored, roots, index, spectrum, low, high):
    """Write X[k] to the position `low` and X[n - k] to `high`."""

    def write(builder, buffer, here, mirrored, roots, index, spectrum, low, high):
        even, odd = even_and_odd(builder, buffer, here, mirrored, roots, index)
        store_complex(spectrum, even + odd, low)
        store_complex(spectrum, (even - odd).conjugate(), high)

    i = types.intp
    flat = is_flat(buffer, roots, spectrum)
    return (types.void(buffer, i, i, roots, i, spectrum, i, i), code(write)) if flat else None


@compiled()
@no_type_check
def split(buffer, plan, spectrum):
    """Compute the bins 0 to n of L real signals from their `fft`: float32 [(n + 1) * 2 * L], in order."""
    n, places = len(plan.places), plan.places
    for k in range(n // 2 + 1):
        here, mirrored = integer_at(places, k) * STEP, integer_at(places, n - k if k else 0) * STEP
        _split(buffer, here, mirrored, plan.roots, 2 * k, spectrum, k * STEP, (n - k) * STEP)


@intrinsic
@no_type_check
def _join(typing_context, spectrum, low, high, roots, index, scale, buffer, to_high):
    """Write the swapped Z[k] and Z[n - k] times `scale`; for k = 0, they are the same."""

    def write(builder, spectrum, low, high, roots, index, scale, buffer, to_high):
        x, mirror = load_complex(builder, spectrum, low), load_complex(builder, spectrum, high).conjugate()
        root = broadcast_complex(builder, roots, index).conjugate()
        even, odd = x + mirror, ((x - mirror) * root).times_i()
        factor = Complex(builder, scale, scale)
        for z, position in ((even + odd, low), ((even - odd).conjugate(), to_high)):
            scaled = Complex(builder, builder.fmul(z.re, factor.re), builder.fmul(z.im, factor.im))
            store_complex(buffer, scaled.swapped(), position)

    i = types.intp
    flat = is_flat(spectrum, roots, buffer)
    return (types.void(spectrum, i, i, roots, i, vector, buffer, i), code(write)) if flat else None


@compiled()
@no_type_check
def join(spectrum, plan, buffer):
    """Fill `buffer` so that its `fft` is the L real signals with these bins 0 to n, as `irfft` of numpy.

    As there, imaginary parts of bins 0 and n, which no real signal has, are ignored; they are set to 0 in `spectrum`.
    Afterwards sample 2 m of the signals is at the imaginary part of place m, and sample 2 m + 1 at its real part.
    """
    n = len(plan.places)
    zero, scale = splat(np.float32(0)), splat(np.float32(0.5 / n))
    store(spectrum, LANES, zero)
    store(spectrum, n * STEP + LANES, zero)
    for k in range(n // 2 + 1):
        to_high = (n - k if k else 0) * STEP
        _join(spectrum, k * STEP, (n - k) * STEP, plan.roots, 2 * k, scale, buffer, to_high)
