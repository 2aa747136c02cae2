"""Running median on CUDA: every thread walks down one column and keeps its current values sorted in registers.

The method is that of `numba_median`: delete one value and insert one, by selects, minima and maxima. The sorted values
are a tuple of SIZE variables, so all loops over them are unrolled and nothing is in memory. A column is cut into runs
of RUN outputs for more parallelism; each run begins by filling its values again.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl

RUN = 64  # outputs that one thread computes
LANES = 128  # columns that one program computes


@triton.jit
@no_type_check
def _reflect(i, n):
    """Map an index beyond the ends of an axis of length n to its mirror image."""
    i = i % (2 * n)
    i = tl.where(i < 0, i + 2 * n, i)
    return tl.where(i < n, i, 2 * n - 1 - i)


@triton.jit
@no_type_check
def _replace(ordered, old, new, SIZE: tl.constexpr):
    """Delete `old` from the sorted values, and insert `new`."""
    below = tl.full(old.shape, float("-inf"), tl.float32)
    result = ()
    for i in tl.static_range(SIZE - 1):
        kept = tl.where(ordered[i] >= old, ordered[i + 1], ordered[i])
        result = result + (tl.maximum(below, tl.minimum(kept, new)),)  # noqa: RUF005
        below = kept
    return result + (tl.maximum(below, new),)  # noqa: RUF005


@triton.jit
@no_type_check
def _median(x, out, n, m, SIZE: tl.constexpr, RUN: tl.constexpr, LANES: tl.constexpr):
    """Compute the running median along the first axis of each [n, m] plane."""
    column_tiles, runs = tl.cdiv(m, LANES), tl.cdiv(n, RUN)
    tile = tl.program_id(0) % (column_tiles * runs)
    column = tile % column_tiles * LANES + tl.arange(0, LANES)
    first = tile // column_tiles * RUN
    plane = (tl.program_id(0) // (column_tiles * runs)).to(tl.int64) * n * m
    is_column = column < m
    infinity = tl.full([LANES], float("inf"), tl.float32)
    ordered = ()
    for _ in tl.static_range(SIZE):
        ordered = ordered + (infinity,)  # noqa: RUF005
    for i in range(SIZE - 1):
        row = _reflect(first - SIZE // 2 + i, n)
        new = tl.load(x + plane + row * m + column, mask=is_column, other=0.0)
        ordered = _replace(ordered, infinity, new, SIZE)
    old = infinity
    for i in range(RUN):  # Triton's interpreter cannot run range() over a tensor
        row = first + i
        new = tl.load(x + plane + _reflect(row + SIZE // 2, n) * m + column, mask=is_column, other=0.0)
        ordered = _replace(ordered, old, new, SIZE)
        tl.store(out + plane + row * m + column, ordered[SIZE // 2], mask=is_column & (row < n))
        old = tl.load(x + plane + _reflect(row - SIZE // 2, n) * m + column, mask=is_column, other=0.0)


@no_type_check
def median_columns(x: torch.Tensor, size: int, out: torch.Tensor) -> None:
    """Fill `out` with the running median of `size`, odd, along axis 1 of contiguous float32 [batch, n, m].

    Compiled for an H100, up to 69 values stay in registers; of 101, about a tenth of the accesses go to the cache. All
    loops are unrolled, so that compiling takes longer and longer: about a second for 31, 10 for 201, 80 for 401.
    """
    batch, n, m = x.shape
    grid = (triton.cdiv(m, LANES) * triton.cdiv(n, RUN) * batch,)
    if x.numel():
        with torch.cuda.device_of(x):
            # Without a maximum, ptxas uses only 32 registers from a size of 95 on, and spills four times as much.
            _median[grid](x, out, n, m, SIZE=size, RUN=RUN, LANES=LANES, num_warps=4, maxnreg=255)
