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
from gtzan_stream.kernels.vector_code import code, is_flat, transposed


@intrinsic
@no_type_check
def transpose(typing_context, source, position, stride, target, to, step):
    """Transpose a block of L x L numbers: vectors `stride` apart in `source` to vectors `step` apart in `target`.

    ``target[to + i * step + j] = source[position + j * stride + i]`` for all i, j < L.
    """

    def write(builder, source, position, stride, target, to, step):
        rows = []
        for _ in range(LANES):
            rows.append(source.load(position))
            position = builder.add(position, stride)
        for row in transposed(builder, rows):
            target.store(row, to)
            to = builder.add(to, step)

    arguments = source, types.intp, types.intp, target, types.intp, types.intp
    return (types.void(*arguments), code(write)) if is_flat(source, target) else None
