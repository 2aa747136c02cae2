"""Generate LLVM's code for the functions of `gtzan_stream.kernels.vector`, when numba compiles a kernel.

In these functions a value is one of LLVM's, such as the vector in a register; a builder appends instructions.
"""

from typing import no_type_check

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function

from gtzan_stream.kernels.lane_count import LANES

FLOAT, INT = ir.FloatType(), ir.IntType(32)
FLOATS, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT, LANES)


def is_flat(array: types.Type, *dtypes: types.Type) -> bool:
    """Return whether a numba type is a contiguous [n] array of one of `dtypes`.

    An intrinsic returns None for any other argument, and numba reports that it has no such function.
    """
    return isinstance(array, types.Array) and (array.ndim, array.layout) == (1, "C") and array.dtype in dtypes


@no_type_check
def pointer(context, builder, array_type, array, index, element):
    """Return a pointer to ``array[index]`` that is read or written as LLVM's type `element`."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), element.as_pointer())


def constant(number: float, kind: ir.VectorType = FLOATS) -> ir.Constant:
    """Return a vector that holds `number` in all lanes."""
    return ir.Constant(kind, [number] * LANES)


@no_type_check
def in_all_lanes(builder, number):
    """Return a vector that holds the float `number` in all lanes."""
    undefined = ir.Constant(FLOATS, ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(undefined, number, INT(0)), undefined, constant(0, INTS))


@no_type_check
def call(builder, name, *vectors):
    """Call one of LLVM's own functions of vectors, such as sqrt."""
    kind = ir.FunctionType(FLOATS, [FLOATS] * len(vectors))
    return builder.call(get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32"), vectors)


@no_type_check
def ordered(builder, x, y):
    """Return the smaller and the larger of two vectors, in each lane; where one is NaN, both as they are swapped."""
    is_less = builder.fcmp_ordered("<", x, y)
    return builder.select(is_less, x, y), builder.select(is_less, y, x)


@no_type_check
def transposed(builder, rows):
    """Transpose L vectors of L lanes: vector i of the result is made of lane i of each of `rows`.

    Two shuffles of a pair of rows transpose blocks of 2 x 2; the next round does the same with blocks of 2 x 2 inside
    blocks of 4 x 4; and so on, in log2(L) rounds of L shuffles:

        a0 a1 a2 a3         a0 b0 a2 b2         a0 b0 c0 d0
        b0 b1 b2 b3   -->   a1 b1 a3 b3   -->   a1 b1 c1 d1
        c0 c1 c2 c3         c0 d0 c2 d2         a2 b2 c2 d2
        d0 d1 d2 d3         c1 d1 c3 d3         a3 b3 c3 d3
    """
    rows, step = list(rows), 1
    while step < LANES:
        # The indices of a shuffle count the lanes of both rows: L + i is lane i of the second.
        upper = ir.Constant(INTS, [LANES + i - step if i & step else i for i in range(LANES)])
        lower = ir.Constant(INTS, [LANES + i if i & step else i + step for i in range(LANES)])
        for i in range(LANES):
            if not i & step:
                a, b = rows[i], rows[i + step]
                rows[i], rows[i + step] = builder.shuffle_vector(a, b, upper), builder.shuffle_vector(a, b, lower)
        step *= 2
    return rows
