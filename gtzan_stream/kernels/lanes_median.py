"""Running medians of L signals side by side, in lanes.

The values of L signals are rows of L numbers (`gtzan_stream.kernels.vector` has a picture). `size // 2` rows before
them and at least as many after them are for the mirror images of both ends. With medians of 5 and signals of 6 values:

    row          0   1   2   3   4   5   6   7   8   9
    before       .   .   a   b   c   d   e   f   .   .
    mirrored     b   a   a   b   c   d   e   f   f   e
    after        A   B   C   D   E   F   .   .   .   .      A is the median of rows 0 to 4, B of rows 1 to 5, ...

Each step reads ``size + 15`` rows and replaces the first 16 of them by medians (`gtzan_stream.kernels.median_code`);
later steps do not need these rows any more. The number of medians is rounded up to whole steps, which need mirrored
rows, too.

**Order.** Rows are compared as integers. `_flip` turns the bits of a float32 into an integer of the same order, and
back: it inverts all bits but the sign of negative numbers. Numbers from 0 up stay as they are. So -0 counts as smaller
than 0, a NaN without sign as larger than infinity, and one with a sign as smaller than -infinity; no number changes a
median of a window that it is not in.

A kernel is compiled for each size. Its argument `window` is a tuple of that many None: numba compiles for its type,
which contains the length.
"""

from typing import no_type_check

import numpy as np
from numba import types
from numba.extending import intrinsic

from gtzan_stream.kernels.compiled import compiled
from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.median_code import running_medians
from gtzan_stream.kernels.vector import load, store, vector
from gtzan_stream.kernels.vector_blocks import transpose
from gtzan_stream.kernels.vector_code import FLOATS, INTS, code, constant, is_flat

LARGEST = 127
"""Largest window. Compilation takes 0.3 s of CPU for medians of 31, 0.8 s for 127, and grows faster than the size."""

_SIGN, _OTHER_BITS = 31, 0x7FFFFFFF


@compiled()
@no_type_check
def medians_at_once(size):
    """Return how many medians a step computes: the largest power of 2 up to `size` and 16."""
    n = 16
    while n > size:
        n //= 2
    return n


@compiled()
@no_type_check
def rows_needed(n, size):
    """Return how many rows signals of `n` values need."""
    n_at_once = medians_at_once(size)
    return (n + n_at_once - 1) // n_at_once * n_at_once + size - 1


@intrinsic
@no_type_check
def _step(typing_context, window, rows, position):
    """Replace the rows from `position` on by medians of the windows that begin there."""
    size, n = window.count, medians_at_once.py_func(window.count)

    def write(builder, window, rows, position):
        values = [rows.load(position, i * LANES, INTS) for i in range(size + n - 1)]
        for i, median in enumerate(running_medians(builder, values, size)):
            rows.store(median, position, i * LANES)

    return (types.void(window, rows, types.intp), code(write)) if is_flat(rows) else None


@compiled()
@no_type_check
def running_median(rows, n, window, first, last):
    """Compute medians `first` to ``last - 1`` of L signals of `n` values, which begin at row ``len(window) // 2``.

    Median i is written to row i; other rows are undefined afterwards. All values are to be positive or flipped.
    """
    half, n_at_once = len(window) // 2, medians_at_once(len(window))
    for i in range(rows_needed(n, len(window))):
        if i < half or i >= half + n:
            j = (i - half) % (2 * n)
            store(rows, i * LANES, load(rows, (half + min(j, 2 * n - 1 - j)) * LANES))
    for i in range(first // n_at_once * n_at_once, last, n_at_once):
        _step(window, rows, i * LANES)


@intrinsic
@no_type_check
def _flip(typing_context, x):
    """Convert float32 to integers of the same order, as bits of a vector, or back."""

    def write(builder, x):
        bits = builder.bitcast(x, INTS)
        sign = builder.ashr(bits, constant(_SIGN, INTS))
        return builder.bitcast(builder.xor(bits, builder.and_(sign, constant(_OTHER_BITS, INTS))), FLOATS)

    return vector(vector), code(write)


@compiled()
@no_type_check
def _flip_rows(rows, first, last):
    for position in range(first * LANES, last * LANES, LANES):
        store(rows, position, _flip(load(rows, position)))


@compiled()
@no_type_check
def _copy(source, position, row_step, lane_step, target, to, to_row_step, to_lane_step, n_rows, n_lanes):
    """Copy numbers one by one, where there are too few for vectors."""
    for row in range(n_rows):
        for lane in range(n_lanes):
            target[to + row * to_row_step + lane * to_lane_step] = source[
                position + row * row_step + lane * lane_step
            ]


@compiled()
@no_type_check
def _medians_down(x, window, rows, out):
    """Compute medians along axis 0 of contiguous [n, m]."""
    n, m = x.shape
    half, source, target = len(window) // 2, x.reshape(-1), out.reshape(-1)
    for column in range(0, m, LANES):
        width = min(LANES, m - column)
        if width == LANES:
            for i in range(n):
                store(rows, (half + i) * LANES, load(source, i * m + column))
        else:
            _copy(source, column, m, 1, rows, half * LANES, LANES, 1, n, width)
        _flip_rows(rows, half, half + n)
        running_median(rows, n, window, 0, n)
        _flip_rows(rows, 0, n)
        if width == LANES:
            for i in range(n):
                store(target, i * m + column, load(rows, i * LANES))
        else:
            _copy(rows, 0, LANES, 1, target, column, m, 1, n, width)


@compiled()
@no_type_check
def _medians_along(x, window, rows, out):
    """Compute medians along axis 1 of contiguous [m, n]: signals are transposed in blocks, L at a time."""
    m, n = x.shape
    half, source, target = len(window) // 2, x.reshape(-1), out.reshape(-1)
    for signal in range(0, m, LANES):
        width = min(LANES, m - signal)
        whole = n // LANES * LANES if width == LANES else 0  # values in blocks of L x L
        begin, end = signal * n, signal * n + whole
        for i in range(0, whole, LANES):
            transpose(source, begin + i, n, rows, (half + i) * LANES, LANES)
        _copy(source, end, 1, n, rows, (half + whole) * LANES, LANES, 1, n - whole, width)
        _flip_rows(rows, half, half + n)
        running_median(rows, n, window, 0, n)
        _flip_rows(rows, 0, n)
        for i in range(0, whole, LANES):
            transpose(rows, i * LANES, LANES, target, begin + i, n)
        _copy(rows, whole * LANES, LANES, 1, target, end, 1, n, n - whole, width)


def scratch_size(n: int, size: int) -> int:
    """Return how many numbers `median_columns` needs for intermediate results."""
    return int(rows_needed(n, size)) * LANES


def median_columns(x: np.ndarray, size: int, memory: np.ndarray, out: np.ndarray) -> None:
    """Fill `out` with the running median of `size`, odd, along axis 0 of float32 [n, m], mirrored at the ends.

    `size` is at most `LARGEST`, and `memory`, float32, has at least `scratch_size` numbers. `out` or its transpose is
    contiguous; an `x` with another layout than `out` is copied.
    """
    window = (None,) * size
    if out.flags.c_contiguous:
        _medians_down(np.ascontiguousarray(x), window, memory, out)
    else:
        _medians_along(np.ascontiguousarray(x.T), window, memory, out.T)
