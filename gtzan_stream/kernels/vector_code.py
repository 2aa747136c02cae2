"""Generate LLVM's code for vectors, when numba compiles a kernel.

A function that generates code runs once, during compilation. The values that it works with are names of LLVM's
registers, such as one vector, and a builder appends an instruction for each operation. An intrinsic of numba is a pair
of a signature and such a function:

    @intrinsic
    def load(typing_context, array, position):
        return vector(array, types.intp), code(lambda builder, array, position: array.load(position))
"""

from collections.abc import Callable
from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function

from gtzan_stream.kernels.lane_count import LANES

FLOAT, INT = ir.FloatType(), ir.IntType(32)
FLOATS, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT, LANES)


def is_flat(*arrays: types.Type, dtypes: tuple[types.Type, ...] = (types.float32,)) -> bool:
    """Return whether numba's types are contiguous [n] arrays of one of `dtypes`.

    An intrinsic returns None for other arguments, and numba reports that there is no such function.
    """
    return all(
        isinstance(array, types.Array) and (array.ndim, array.layout) == (1, "C") and array.dtype in dtypes
        for array in arrays
    )


def code(write: Callable[..., Any]) -> Callable[..., Any]:
    """Make numba's function that generates code from ``write(builder, *arguments)``; arrays come as `Memory`."""

    @no_type_check
    def generate(context, builder, signature, values):
        arguments = [
            Memory(context, builder, kind, value) if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, values, strict=True)
        ]
        result = write(builder, *arguments)
        return context.get_dummy_value() if result is None else result

    return generate


class Memory:
    """A flat array in generated code. Positions are indices of its elements; `offset` is a Python number."""

    @no_type_check
    def __init__(self, context, builder, array_type, array):
        self._builder, self._data = builder, context.make_array(array_type)(context, builder, array).data
        self._align = context.get_abi_sizeof(context.get_data_type(array_type.dtype))

    @no_type_check
    def _pointer(self, position, offset, kind):
        position = self._builder.add(position, position.type(offset))
        return self._builder.bitcast(self._builder.gep(self._data, [position]), kind.as_pointer())

    @no_type_check
    def load(self, position, offset=0, kind=FLOATS):
        """Return what is at a position, read as LLVM's type `kind`."""
        return self._builder.load(self._pointer(position, offset, kind), align=self._align)

    @no_type_check
    def store(self, value, position, offset=0):
        self._builder.store(value, self._pointer(position, offset, value.type), align=self._align)

    @no_type_check
    def broadcast(self, position, offset=0):
        """Return a vector with the float at a position in all lanes."""
        return in_all_lanes(self._builder, self.load(position, offset, FLOAT))


def constant(number: float, kind: ir.VectorType = FLOATS) -> ir.Constant:
    """Return a vector that holds `number` in all lanes."""
    return ir.Constant(kind, [number] * LANES)


@no_type_check
def in_all_lanes(builder, number):
    """Return a vector that holds the float `number` in all lanes."""
    undefined = ir.Constant(FLOATS, ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(undefined, number, INT(0)), undefined, constant(0, INTS))


@no_type_check
def neighbours(builder, low, high, first):
    """Return L lanes of two vectors side by side, from lane `first` on, a Python number from 0 to L."""
    return builder.shuffle_vector(low, high, ir.Constant(INTS, [first + lane for lane in range(LANES)]))


@no_type_check
def call(builder, name, *vectors):
    """Call one of LLVM's own functions of vectors, such as sqrt."""
    kind = ir.FunctionType(FLOATS, [FLOATS] * len(vectors))
    return builder.call(get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32"), vectors)


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
