"""Running medians on CUDA, down the columns of planes [n, m]: N neighbouring windows of one column in each thread.

Neighbouring windows share most of their values. `gtzan_stream.kernels.median_code` explains the method: values that all
windows share are sorted once, then the windows are halved again and again, and each half merges in the values that only
it shares. Windows of 31, 16 at once, take 34 minima and maxima for each median, all in registers, without a branch.

    program     LANES neighbouring columns, N medians of each: it reads SIZE + N - 1 rows of its columns
    order       programs that read the same rows follow each other, so that memory is read once
    transposed  with TRANSPOSED, medians are written as [m, n] planes: N of a column side by side, through shared memory

Tuples hold the values, so all loops over them are unrolled. Windows larger than `LARGEST` would need too many
registers. `_long_median` keeps their values sorted in registers, too, but deletes one value and inserts one for each
output, as `numba_median` does. A column is cut into runs of RUN outputs; each run begins by filling its values again.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl

LARGEST = 63  # the largest window that is computed by merging
AT_ONCE = 16  # medians of a column that one thread computes by merging
LANES = 64  # columns that one program computes by merging
RUN = 64  # outputs that one thread computes by replacing values
LONG_LANES = 128  # columns that one program computes by replacing values


@triton.jit
@no_type_check
def _sort(x):
    if len(x) < 2:
        return x
    else:  # noqa: RET505 - Triton compiles what follows a return
        return _merge(_sort(x[: len(x) // 2]), _sort(x[len(x) // 2 :]))


@triton.jit
@no_type_check
def _merge(x, y):
    """Merge two sorted tuples by Batcher's odd-even merge."""
    if len(x) == 0:
        return y
    elif len(y) == 0:  # noqa: RET505
        return x
    elif len(x) + len(y) == 2:
        return tl.minimum(x[0], y[0]), tl.maximum(x[0], y[0])
    else:
        return _zip_ordered(_merge(x[::2], y[::2]), _merge(x[1::2], y[1::2]))


@triton.jit
@no_type_check
def _zip_ordered(even, odd):
    """Put each odd element in order with the next even one; there are 0 to 2 more even elements."""
    result = (even[0],)
    for i in tl.static_range(len(odd)):
        if i + 1 < len(even):
            result = result + (tl.minimum(odd[i], even[i + 1]), tl.maximum(odd[i], even[i + 1]))  # noqa: RUF005
        else:
            result = result + (odd[i],)  # noqa: RUF005
    return result + even[len(odd) + 1 :]


@triton.jit
@no_type_check
def _medians(values, core, FIRST: tl.constexpr, N: tl.constexpr, BELOW: tl.constexpr, SIZE: tl.constexpr):
    """Return the medians of windows FIRST to ``FIRST + N - 1`` in a tuple.

    `core` has the sorted values that these windows share, after the BELOW lowest. Each window has N - 1 more values, so
    only some of `core` can be medians.
    """
    CUT: tl.constexpr = max(SIZE // 2 - (N - 1) - BELOW, 0)
    core = core[CUT : SIZE // 2 - BELOW + 1]
    if N == 1:
        return core
    else:  # noqa: RET505
        MIDDLE: tl.constexpr = FIRST + N // 2
        left = _merge(core, _sort(values[MIDDLE - 1 : FIRST + N - 1]))
        right = _merge(core, _sort(values[FIRST + SIZE : MIDDLE + SIZE]))
        return _medians(values, left, FIRST, N // 2, BELOW + CUT, SIZE) + _medians(
            values, right, MIDDLE, N - N // 2, BELOW + CUT, SIZE
        )


@triton.jit
@no_type_check
def _side_by_side(values):
    """Join a tuple of 2^k vectors [lane] to [lane, 2, 2, ...], in order."""
    if len(values) == 1:
        return values[0]
    else:  # noqa: RET505
        return tl.join(_side_by_side(values[::2]), _side_by_side(values[1::2]))


@triton.jit
@no_type_check
def _median(
    x, out, n, m, SIZE: tl.constexpr, N: tl.constexpr, LANES: tl.constexpr, TRANSPOSED: tl.constexpr,
    IS_SHORT: tl.constexpr,
):  # fmt: skip
    """Compute the running median along the first axis of each [n, m] plane."""
    runs, tiles = tl.cdiv(n, N), tl.cdiv(m, LANES)
    first = tl.program_id(0) % runs * N
    column = tl.program_id(0) // runs % tiles * LANES + tl.arange(0, LANES)
    plane = (tl.program_id(0) // (runs * tiles)).to(tl.int64) * n * m
    is_column = column < m
    values = ()
    for i in tl.static_range(SIZE + N - 1):
        row = first + (i - SIZE // 2)
        if IS_SHORT:
            row = _reflect(row, n)
        else:  # one mirror image at each end is enough
            row = tl.maximum(row, -1 - row)
            row = tl.maximum(tl.minimum(row, 2 * n - 1 - row), 0)  # below 0: for medians beyond the last
        values = values + (tl.load(x + plane + column + row * m, mask=is_column, other=0.0),)  # noqa: RUF005
    medians = _medians(values, _sort(values[N - 1 : SIZE]), 0, N, 0, SIZE)
    if TRANSPOSED:
        row = (first + tl.arange(0, N))[None, :]
        start = out + plane + column[:, None] * n
        tile = tl.reshape(_side_by_side(medians), [LANES, N])
        tl.store(start + row, tile, mask=is_column[:, None] & (row < n))
    else:
        for i in tl.static_range(N):
            row = first + i
            tl.store(out + plane + column + row * m, medians[i], mask=is_column & (row < n))


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
def _long_median(x, out, n, m, n_stride, m_stride, SIZE: tl.constexpr, RUN: tl.constexpr, LANES: tl.constexpr):
    """Compute what `_median` does, of larger windows. Output rows are `n_stride` apart, and columns `m_stride`."""
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
        target = out + plane + row * n_stride + column * m_stride
        tl.store(target, ordered[SIZE // 2], mask=is_column & (row < n))
        old = tl.load(x + plane + _reflect(row - SIZE // 2, n) * m + column, mask=is_column, other=0.0)


@no_type_check
def median_columns(x: torch.Tensor, size: int, out: torch.Tensor) -> None:
    """Fill `out` with the running median of `size`, odd, along axis 1 of contiguous float32 [batch, n, m].

    `out` or its transpose is contiguous. Compiling takes 3 s for a window of 31 and 10 s for 63. Of larger windows, up
    to 69 values stay in registers on an H100; of 101, about a tenth of the accesses go to the cache. Compiling takes
    longer and longer: 10 s for 201, 80 for 401.
    """
    batch, n, m = x.shape
    if not x.numel():
        return
    transposed = not out.is_contiguous()
    with torch.cuda.device_of(x):
        if size <= LARGEST:
            at_once = min(AT_ONCE, 1 << size.bit_length() - 1)
            _median[(triton.cdiv(n, at_once) * triton.cdiv(m, LANES) * batch,)](
                x, out, n, m, SIZE=size, N=at_once, LANES=LANES, TRANSPOSED=transposed, IS_SHORT=n < size // 2,
                num_warps=LANES // 32,
            )  # fmt: skip
        else:
            # Without a maximum, ptxas uses only 32 registers from a size of 95 on, and spills four times as much.
            _long_median[(triton.cdiv(m, LONG_LANES) * triton.cdiv(n, RUN) * batch,)](
                x, out, n, m, *((1, n) if transposed else (m, 1)), SIZE=size, RUN=RUN, LANES=LONG_LANES, num_warps=4,
                maxnreg=255,
            )  # fmt: skip
