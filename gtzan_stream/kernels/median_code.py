"""Running medians by a sorting network: code for several neighbouring windows, which share most of their work.

Neighbouring windows have most values in common. For windows of 5 values, four at once:

    values       x0 x1 x2 x3 x4 x5 x6 x7
    window 0      '-----------'                 all four windows contain x3 x4, which are sorted once;
    window 1         '-----------'              windows 0 and 1 also share x1 x2, which are sorted and merged in;
    window 2            '-----------'           windows 2 and 3 share x5 x6;
    window 3               '-----------'        at last each window needs one more value: x0, x5, x2 or x7

A sorted list is cut at both ends before it is used further. If each window still lacks u values, the value of rank r
will have a rank of r to r + u in the window. So only ranks from size // 2 - u to size // 2 can become the median.

Sorting and merging are Batcher's odd-even merges: fixed sequences of "put these two in order", the same for all data,
without a branch. Each is one minimum and one maximum of vectors, for all lanes at once. Windows of 31, 16 at once, take
367 such steps, 23 for each median.

Values are compared as integers, which are faster than floats on some CPUs, and have a place for NaN. The bits of
float32 above zero, read as an integer, are in the order of the numbers; `gtzan_stream.kernels.lanes_median` has the
conversion of negative ones.
"""

from typing import no_type_check

from llvmlite import ir
from numba.core.cgutils import get_or_insert_function

from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.vector_code import INTS


@no_type_check
def running_medians(builder, values, size):
    """Return the medians of all windows of `size`, odd, in a list of integer vectors; at most `size` windows."""
    half = size // 2

    def medians(first, n, core, below):
        """Return the medians of windows `first` to ``first + n - 1``.

        `core` has the sorted values that these windows share, without those that cannot be a median; `below` of them
        were cut off at the lower end.
        """
        if n == 1:
            return [core[half - below]]
        n_left = n // 2
        left = first, n_left, values[first + n_left - 1 : first + n - 1]
        right = first + n_left, n - n_left, values[first + size : first + size + n_left]
        found = []
        for begin, count, others in (left, right):
            merged = _merge(builder, core, _sort(builder, others))
            n_cut = max(half - (count - 1) - below, 0)
            found += medians(begin, count, merged[n_cut : half - below + 1], below + n_cut)
        return found

    n_windows = len(values) - size + 1
    core, n_cut = _sort(builder, values[n_windows - 1 : size]), max(half - (n_windows - 1), 0)
    return medians(0, n_windows, core[n_cut : half + 1], n_cut)


@no_type_check
def _sort(builder, values):
    if len(values) < 2:
        return values
    middle = len(values) // 2
    return _merge(builder, _sort(builder, values[:middle]), _sort(builder, values[middle:]))


@no_type_check
def _merge(builder, x, y):
    """Merge two sorted lists: merge their even and their odd elements, then put each odd one in order with the next."""
    if not x or not y:
        return x or y
    if len(x) == len(y) == 1:
        return _ordered(builder, x[0], y[0])
    even, odd = _merge(builder, x[::2], y[::2]), _merge(builder, x[1::2], y[1::2])
    merged = [even[0]]
    for i in range(max(len(odd), len(even) - 1)):
        if i < len(odd) and i + 1 < len(even):
            merged += _ordered(builder, odd[i], even[i + 1])
        else:
            merged.append(odd[i] if i < len(odd) else even[i + 1])
    return merged


@no_type_check
def _ordered(builder, x, y):
    """Return the smaller and the larger integers. LLVM drops the one that is not used."""
    kind = ir.FunctionType(INTS, [INTS, INTS])
    return [
        builder.call(get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}i32"), [x, y])
        for name in ("smin", "smax")
    ]
