"""The natural logarithm of float32 numbers on the CPU, as pieces that vectorise where they are inlined.

A call to the C library's log would keep the loops around it from being vectorised.
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
    """Power of two of a normal float32, given its bits as int32: what is left lies in sqrt(1/2) .. sqrt(2)."""
    return (bits - _SQRT_HALF_BITS) >> _MANTISSA_BITS


@njit(inline="always")
@no_type_check
def without_exponent(bits, exponent):
    """The bits of the number divided by ``2 ** exponent``."""
    return bits - (exponent << _MANTISSA_BITS)


@njit(inline="always")
@no_type_check
def log_of(x, e):
    """Logarithm of ``(1 + x) * 2 ** e`` for sqrt(1/2) <= 1 + x < sqrt(2)."""
    p = ((((_L0 * x + _L1) * x + _L2) * x + _L3) * x + _L4) * x + _L5
    p = (((p * x + _L6) * x + _L7) * x + _L8) * x * x * x
    return (x + (p + _LN2_LOW * e - _HALF * x * x)) + _LN2_HIGH * e
