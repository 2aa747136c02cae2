"""A vector of L float32 as a type of numba: arithmetic on all L at once. L is `LANES`, 16 or 8, depending on the CPU.

A CPU has registers for several numbers, and instructions that compute with all of them in the time of one. If a vector
is larger than a register, LLVM uses several.

**Layout.** L signals are stored like a numpy array [element, lane]: element 0 of all signals, then element 1 of all. A
vector is one element of all L signals, so an algorithm for one signal in which each number is replaced by a vector
computes L signals at once. With L = 8:

                lane 0   1   2   3   4   5   6   7     signals a to h, such as frames of a waveform
    element 0       a0  b0  c0  d0  e0  f0  g0  h0     one vector, load(array, 0 * L)
    element 1       a1  b1  c1  d1  e1  f1  g1  h1     the next,   load(array, 1 * L)
    element 2       a2  b2  c2  d2  e2  f2  g2  h2
    in memory   a0 b0 c0 ... h0 a1 b1 c1 ... h1 a2 b2 ...

8 and 16 lanes give equal bits: arithmetic never mixes lanes, and LLVM is not allowed to fuse or reorder operations, as
it might do that differently for each L. Where a product and a sum are to be fused, `fma` says so.

Memory is a flat float32 array, and a position in it is the index of the first of L floats, which need not be aligned.
As in C, no position is checked: numba's test for a negative index would cost as much as the arithmetic.
"""

import operator
from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.extending import intrinsic, lower_builtin, register_model, type_callable

from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.vector_code import FLOATS, call, code, in_all_lanes, is_flat


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


vector = _Vector()
"""The type of a vector, for signatures."""


@register_model(_Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: types.Type) -> None:
        super().__init__(manager, numba_type, FLOATS)


@no_type_check
def _compile_operator(symbol, instruction, n_operands):
    """Compile the Python operator `symbol` of vectors to LLVM's instruction of that name."""
    vectors = (vector,) * n_operands
    type_callable(symbol)(lambda context: lambda *kinds: vector if kinds == vectors else None)
    lower_builtin(symbol, *vectors)(lambda context, builder, signature, x: getattr(builder, instruction)(*x))


_compile_operator(operator.neg, "fneg", 1)
for _name, _instruction in {"add": "fadd", "sub": "fsub", "mul": "fmul", "truediv": "fdiv"}.items():
    _compile_operator(getattr(operator, _name), _instruction, 2)
    _compile_operator(getattr(operator, f"i{_name}"), _instruction, 2)  # += and the like


@intrinsic
@no_type_check
def load(typing_context, array, position):
    """Return the vector ``array[position : position + L]``."""
    generate = code(lambda builder, array, position: array.load(position))
    return (vector(array, types.intp), generate) if is_flat(array) else None


@intrinsic
@no_type_check
def store(typing_context, array, position, x):
    """Write the vector `x` to ``array[position : position + L]``."""
    generate = code(lambda builder, array, position, x: array.store(x, position))
    return (types.void(array, types.intp, vector), generate) if is_flat(array) else None


@intrinsic
@no_type_check
def broadcast(typing_context, array, index):
    """Return a vector with the number ``array[index]`` in all lanes; `splat` takes a number."""
    generate = code(lambda builder, array, index: array.broadcast(index))
    return (vector(array, types.intp), generate) if is_flat(array) else None


@intrinsic
@no_type_check
def integer_at(typing_context, array, index):
    """Return the integer ``array[index]``, an int32 or int64, without numba's test for a negative index."""
    if not is_flat(array, dtypes=(types.int32, types.int64)):
        return None
    kind = ir.IntType(array.dtype.bitwidth)
    return array.dtype(array, types.intp), code(lambda builder, array, index: array.load(index, kind=kind))


@intrinsic
@no_type_check
def splat(typing_context, number):
    """Return a vector with `number`, a float32, in all lanes."""
    return vector(types.float32), code(in_all_lanes)


@intrinsic
@no_type_check
def fma(typing_context, x, y, z):
    """Return ``x * y + z``, rounded once."""
    return vector(vector, vector, vector), code(lambda builder, *numbers: call(builder, "fma", *numbers))


@intrinsic
@no_type_check
def sqrt(typing_context, x):
    """Return the square roots, correctly rounded."""
    return vector(vector), code(lambda builder, x: call(builder, "sqrt", x))


@intrinsic
@no_type_check
def where_less(typing_context, x, y, if_less, otherwise):
    """Return `if_less` in the lanes where x < y, else `otherwise`, such as where x or y is NaN."""

    def write(builder, x, y, if_less, otherwise):
        return builder.select(builder.fcmp_ordered("<", x, y), if_less, otherwise)

    return vector(vector, vector, vector, vector), code(write)
