"""Move blocks of L x L numbers between signals stored one after another and signals stored side by side, in lanes.

    signals in memory       in lanes
    a0 a1 a2 a3             a0 b0 c0 d0
    b0 b1 b2 b3     <-->    a1 b1 c1 d1
    c0 c1 c2 c3             a2 b2 c2 d2
    d0 d1 d2 d3             a3 b3 c3 d3

`gtzan_stream.kernels.vector` describes the layout.
"""

from typing import no_type_check

from numba import types
from numba.extending import intrinsic

from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.vector_code import FLOATS, is_flat, pointer, transposed


@intrinsic
@no_type_check
def transpose(typing_context, source, position, stride, target, to, step):
    """Transpose a block of L x L numbers: vectors `stride` apart in `source` to vectors `step` apart in `target`.

    ``target[to + i * step + j] = source[position + j * stride + i]`` for all i, j < L.
    """

    def generate(context, builder, signature, values):
        _, position, stride, _, to, step = values
        rows = []
        for _ in range(LANES):
            address = pointer(context, builder, signature.args[0], values[0], position, FLOATS)
            rows.append(builder.load(address, align=4))
            position = builder.add(position, stride)
        for row in transposed(builder, rows):
            builder.store(row, pointer(context, builder, signature.args[3], values[3], to, FLOATS), align=4)
            to = builder.add(to, step)
        return context.get_dummy_value()

    arguments = source, types.intp, types.intp, target, types.intp, types.intp
    flat = is_flat(source, types.float32) and is_flat(target, types.float32)
    return (types.void(*arguments), generate) if flat else None
