"""Running medians of L signals side by side, in lanes.

A row has one value of each signal, side by side (`gtzan_stream.kernels.vector` has a picture). `size // 2` rows before
the first value and at least as many after the last are for the mirror images of both ends. With medians of 5 and
signals of 6 values:

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
def _step(typing_context, window, rows, position, width):
    """Replace the rows from `position` on, `width` apart, by medians of the windows that begin there; in L columns."""
    size, n = window.count, medians_at_once.py_func(window.count)

    def write(builder, window, rows, position, width):
        positions = [position]
        for _ in range(1, size + n - 1):
            positions.append(builder.add(positions[-1], width))
        values = [rows.load(position, kind=INTS) for position in positions]
        for position, median in zip(positions, running_medians(builder, values, size), strict=False):
            rows.store(median, position)

    i = types.intp
    return (types.void(window, rows, i, i), code(write)) if is_flat(rows) else None


@compiled()
@no_type_check
def running_median(rows, width, n, window):
    """Compute running medians down `n` rows, which begin at row ``len(window) // 2``.

    Rows have `width` numbers, a multiple of L, from 0 up or flipped. Median i is written to row i; the rows after the
    last median are undefined.
    """
    half, n_at_once = len(window) // 2, medians_at_once(len(window))
    for i in range(rows_needed(n, len(window)) - n):
        row = i if i < half else i + n
        j = row - half
        while j < 0 or j >= n:  # a short signal is mirrored several times
            j = -1 - j if j < 0 else 2 * n - 1 - j
        for k in range(0, width, LANES):
            store(rows, row * width + k, load(rows, (half + j) * width + k))
    for i in range(0, n, n_at_once):
        for k in range(0, width, LANES):
            _step(window, rows, i * width + k, width)


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
def _flip_all(numbers):
    for position in range(0, len(numbers), LANES):
        store(numbers, position, _flip(load(numbers, position)))


@compiled()
@no_type_check
def _medians_down(x, window, rows, out):
    """Compute medians along axis 0 of contiguous [n, m]."""
    n, m = x.shape
    half, source, target = len(window) // 2, x.reshape(-1), out.reshape(-1)
    in_vectors, width = m // LANES * LANES, (m + LANES - 1) // LANES * LANES
    for i in range(n):
        row = (half + i) * width
        for k in range(0, in_vectors, LANES):
            store(rows, row + k, _flip(load(source, i * m + k)))
        for k in range(in_vectors, m):
            rows[row + k] = source[i * m + k]
        if in_vectors < m:
            store(rows, row + in_vectors, _flip(load(rows, row + in_vectors)))
    running_median(rows, width, n, window)
    for i in range(n):
        row = i * width
        for k in range(0, in_vectors, LANES):
            store(target, i * m + k, _flip(load(rows, row + k)))
        if in_vectors < m:
            store(rows, row + in_vectors, _flip(load(rows, row + in_vectors)))
        for k in range(in_vectors, m):
            target[i * m + k] = rows[row + k]


@compiled()
@no_type_check
def _medians_along(x, window, rows, out):
    """Compute medians along axis 1 of contiguous [m, n], which is transposed in blocks of L x L."""
    m, n = x.shape
    half, source, target = len(window) // 2, x.reshape(-1), out.reshape(-1)
    in_blocks, width = n // LANES * LANES, (m + LANES - 1) // LANES * LANES
    for k in range(0, m, LANES):
        end = in_blocks if k + LANES <= m else 0
        for i in range(0, end, LANES):
            transpose(source, k * n + i, n, rows, (half + i) * width + k, width)
        for j in range(k, min(k + LANES, m)):
            for i in range(end, n):
                rows[(half + i) * width + j] = source[j * n + i]
    _flip_all(rows[half * width : (half + n) * width])
    running_median(rows, width, n, window)
    _flip_all(rows[: n * width])
    for k in range(0, m, LANES):
        end = in_blocks if k + LANES <= m else 0
        for i in range(0, end, LANES):
            transpose(rows, i * width + k, width, target, k * n + i, n)
        for j in range(k, min(k + LANES, m)):
            for i in range(end, n):
                target[j * n + i] = rows[i * width + j]


def scratch_size(shape: tuple[int, int], size: int) -> int:
    """Return how many numbers `median_columns` needs for intermediate results."""
    n, m = shape
    return int(rows_needed(n, size)) * -(-m // LANES) * LANES


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
