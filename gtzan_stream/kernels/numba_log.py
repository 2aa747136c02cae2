"""The natural logarithm of float32 numbers on the CPU, in inlined pieces that vectorise.

A call to the C library's log would prevent vectorisation of the loop around it. This is Cephes' logf: a positive
normal number is ``v = (1 + x) * 2 ** e`` with ``sqrt(1/2) <= 1 + x < sqrt(2)``, and

    log(v) = e ln 2 + x - x^2 / 2 + x^3 P(x)

with a polynomial P of degree 8. ln 2 is split into a part with few bits, whose product with e is exact, and a small
rest, so that rounding stays at a few units in the last place.

The range is reduced on the bits of a float32: sign, 8 bits of exponent, 23 bits of mantissa. Subtracting the bits of
sqrt(1/2) before the shift by 23 rounds the exponent so that 1 + x is around 1; subtracting ``e << 23`` from the bits
divides by ``2 ** e``. Zero, denormals, infinity and NaN are not handled.
"""

from typing import no_type_check

import numpy as np
from numba import njit

from gtzan_stream.kernels import constants

_F = np.float32
_HALF = _F(0.5)
_SQRT_HALF_BITS, _MANTISSA_BITS = np.int32(constants.SQRT_HALF_BITS), np.int32(constants.MANTISSA_BITS)
_LN2_HIGH, _LN2_LOW = _F(constants.LN2_HIGH), _F(constants.LN2_LOW)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = (_F(number) for number in constants.LOG)


@njit(inline="always")
@no_type_check
def exponent_of(bits):
    """Return the exponent e of a positive normal float32, given its bits as int32."""
    return (bits - _SQRT_HALF_BITS) >> _MANTISSA_BITS


@njit(inline="always")
@no_type_check
def without_exponent(bits, exponent):
    """Return the bits of the number divided by ``2 ** exponent``, which is 1 + x."""
    return bits - (exponent << _MANTISSA_BITS)


@njit(inline="always")
@no_type_check
def log_of(x, e):
    """Return the logarithm of ``(1 + x) * 2 ** e``; both are float32."""
    p = ((((_L0 * x + _L1) * x + _L2) * x + _L3) * x + _L4) * x + _L5
    p = (((p * x + _L6) * x + _L7) * x + _L8) * x * x * x
    return (x + (p + _LN2_LOW * e - _HALF * x * x)) + _LN2_HIGH * e
