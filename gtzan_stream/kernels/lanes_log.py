"""The natural logarithm of vectors; `gtzan_stream.kernels.numba_log` explains the method."""

from typing import no_type_check

from numba.extending import intrinsic

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.vector import vector
from gtzan_stream.kernels.vector_code import FLOATS, INTS, call, code, constant


@intrinsic
@no_type_check
def log(typing_context, x):
    """Return the natural logarithms of positive normal numbers; other numbers give meaningless ones."""

    def write(builder, v):
        sqrt_half, mantissa_bits = constant(constants.SQRT_HALF_BITS, INTS), constant(constants.MANTISSA_BITS, INTS)
        bits = builder.bitcast(v, INTS)
        exponent = builder.ashr(builder.sub(bits, sqrt_half), mantissa_bits)
        reduced = builder.sub(bits, builder.shl(exponent, mantissa_bits))  # the bits of v / 2 ** exponent
        x, e = builder.fsub(builder.bitcast(reduced, FLOATS), constant(1.0)), builder.sitofp(exponent, FLOATS)
        p = constant(constants.LOG[0])
        for coefficient in constants.LOG[1:]:
            p = call(builder, "fma", p, x, constant(coefficient))
        square = builder.fmul(x, x)
        rest = builder.fmul(p, builder.fmul(square, x))
        rest = call(builder, "fma", constant(constants.LN2_LOW), e, rest)
        rest = call(builder, "fma", constant(-0.5), square, rest)
        return call(builder, "fma", constant(constants.LN2_HIGH), e, builder.fadd(x, rest))

    return vector(vector), code(write)
