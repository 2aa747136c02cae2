"""Cut frames of a waveform into lanes, write lanes back as frames, and add them to a waveform.

L frames, `hop` samples apart, become L signals side by side (`gtzan_stream.kernels.vector`). With L = 4 and hop = 2:

    waveform       x0 x1 x2 x3 x4 x5 x6 x7 x8 x9 ...
    frame a         '--------'                          lane 0   1   2   3     times
    frame b               '--------'          element 0      x0  x2  x4  x6    window[0]
    frame c                     '--------'    element 1      x1  x3  x5  x7    window[1]
    frame d                           '----   element 2      x2  x4  x6  x8    window[2]

Blocks of 2 L elements are read from each frame (of int16 samples, these are L int32) and transposed in registers. If
n_fft is not a multiple of 2 L, the last block overlaps the one before, and writes the same numbers again, so there is
no loop for a remainder.
"""

from typing import no_type_check

from numba import types
from numba.extending import intrinsic

from gtzan_stream.kernels.compiled import compiled
from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.vector_code import FLOATS, INTS, call, code, constant, is_flat, transposed

BLOCK = 2 * LANES
INT16_SCALE = 2.0**-16
"""Multiply the window of int16 samples by this: `cut` works with them in the upper half of an int32."""


@no_type_check
def _positions(builder, start, hop, last):
    """Return where each lane reads: `hop` samples apart. Lanes after `last` read the same as it does."""
    lanes = (start.type(lane) for lane in range(LANES))
    numbers = [builder.select(builder.icmp_signed("<", lane, last), lane, last) for lane in lanes]
    return [builder.add(start, builder.mul(number, hop)) for number in numbers]


@no_type_check
def _float_block(builder, x, positions):
    """Return 2 L elements of L frames of float32 samples, as vectors."""
    return [
        element
        for half in (0, LANES)
        for element in transposed(builder, [x.load(position, half) for position in positions])
    ]


@no_type_check
def _int16_block(builder, x, positions):
    """Return 2 L elements of L frames of int16 samples, times 2 ** 16.

    Two neighbouring samples are transposed as one int32: the first is its lower half, the second its upper half.
    Shifted up by 16 bits, only the first remains, times 2 ** 16; with the lower 16 bits cleared, only the second does,
    times 2 ** 16. Both are exact in float32.
    """
    elements = []
    for pair in transposed(builder, [x.load(position, kind=INTS) for position in positions]):
        first, second = builder.shl(pair, constant(16, INTS)), builder.and_(pair, constant(-(2**16), INTS))
        elements += [builder.sitofp(first, FLOATS), builder.sitofp(second, FLOATS)]
    return elements


@no_type_check
def _write_windowed(builder, elements, window, first, buffer):
    """Write 2 L elements of L frames to `buffer`, times those of the window from `first` on."""
    position = builder.mul(first, first.type(LANES))
    for i, element in enumerate(elements):
        buffer.store(builder.fmul(element, window.broadcast(first, i)), position, i * LANES)


@intrinsic
@no_type_check
def _cut_block(typing_context, x, start, hop, last, window, first, buffer):
    """Cut elements `first` to ``first + 2 * L - 1`` of L frames; the first frame begins at sample `start`."""
    block = {types.float32: _float_block, types.int16: _int16_block}.get(getattr(x, "dtype", None))

    def write(builder, x, start, hop, last, window, first, buffer):
        elements = block(builder, x, _positions(builder, builder.add(start, first), hop, last))
        _write_windowed(builder, elements, window, first, buffer)

    i = types.intp
    flat = is_flat(window, buffer) and is_flat(x, dtypes=(types.float32, types.int16))
    return (types.void(x, i, i, i, window, i, buffer), code(write)) if flat else None


@compiled()
@no_type_check
def cut(x, start, hop, last, window, buffer):
    """Fill `buffer`, float32 [n_fft * L], with windowed frames of samples `x`, float32 or int16 [time].

    Lane l holds the frame that begins at sample ``start + min(l, last) * hop``, and all of these must be inside `x`.
    The window, float32 [n_fft], is to contain `INT16_SCALE` for int16 samples. n_fft is at least 2 L.
    """
    for first in range(0, len(window), BLOCK):
        _cut_block(x, start, hop, last, window, min(first, len(window) - BLOCK), buffer)


@intrinsic
@no_type_check
def _cut_block_at(typing_context, x, starts, window, first, buffer):
    """Cut elements `first` to ``first + 2 * L - 1`` of the L frames that begin at samples `starts`."""

    def write(builder, x, starts, window, first, buffer):
        positions = [builder.add(starts.load(first.type(0), lane, first.type), first) for lane in range(LANES)]
        _write_windowed(builder, _float_block(builder, x, positions), window, first, buffer)

    flat = is_flat(x, window, buffer) and is_flat(starts, dtypes=(types.intp,))
    return (types.void(x, starts, window, types.intp, buffer), code(write)) if flat else None


@compiled()
@no_type_check
def cut_at(x, starts, window, buffer):
    """Fill `buffer` as `cut` does, with the frames of float32 samples that begin at `starts`, int64 [L], inside `x`."""
    for first in range(0, len(window), BLOCK):
        _cut_block_at(x, starts, window, min(first, len(window) - BLOCK), buffer)


@intrinsic
@no_type_check
def _write_block(typing_context, buffer, places, first, frames, to, step):
    """Write samples ``2 * first`` to ``2 * first + L - 1`` of L frames, from the output of an inverse transform."""

    def write(builder, buffer, places, first, frames, to, step):
        rows = []
        for i in range(LANES // 2):
            position = builder.mul(places.load(first, i, first.type), first.type(2 * LANES))
            rows += [buffer.load(position, LANES), buffer.load(position)]
        to = builder.add(to, builder.mul(first, first.type(2)))
        for row in transposed(builder, rows):
            frames.store(row, to)
            to = builder.add(to, step)

    i = types.intp
    flat = is_flat(buffer, frames) and is_flat(places, dtypes=(types.intp,))
    return (types.void(buffer, places, i, frames, i, i), code(write)) if flat else None


@compiled()
@no_type_check
def write_frames(buffer, places, frames, to, step):
    """Write L real signals to the flat array `frames`, one every `step` numbers from `to` on.

    `buffer` is as `join` and `fft` leave it: sample 2 m is at the imaginary part of ``places[m]``, and sample 2 m + 1
    at its real part.
    """
    for first in range(0, len(places), LANES // 2):
        _write_block(buffer, places, min(first, len(places) - LANES // 2), frames, to, step)


@intrinsic
@no_type_check
def _add_block(typing_context, buffer, places, first, window, out, to, hop, last, spare):
    """Add windowed samples ``2 * first`` to ``2 * first + L - 1`` of L frames to `out`."""

    def write(builder, buffer, places, first, window, out, to, hop, last, spare):
        elements = []
        for i in range(LANES // 2):
            position = builder.mul(places.load(first, i, first.type), first.type(2 * LANES))
            elements += [buffer.load(position, LANES), buffer.load(position)]
        sample = builder.mul(first, first.type(2))
        weights, to = window.load(sample), builder.add(to, sample)
        positions = []
        for lane in range(LANES):
            exists = builder.icmp_signed("<=", hop.type(lane), last)
            positions.append(builder.add(to, builder.select(exists, builder.mul(hop, hop.type(lane)), spare)))
        # All are read before one is written: reads 4096 bytes after a write would wait for it on many CPUs.
        sums = [out.load(position) for position in positions]
        for samples, total, position in zip(transposed(builder, elements), sums, positions, strict=True):
            out.store(call(builder, "fma", samples, weights, total), position)

    i = types.intp
    flat = is_flat(buffer, window, out) and is_flat(places, dtypes=(types.intp,))
    return (types.void(buffer, places, i, window, out, i, i, i, i), code(write)) if flat else None


@compiled()
@no_type_check
def add_frames(buffer, places, window, out, to, hop, last, spare):
    """Add L windowed frames, as `join` and `fft` leave them, to `out`, one every `hop` samples from `to` on.

    Lanes after `last` have no frame; they are added `spare` samples after `to`. The blocks of L samples are added from
    the last to the first, so that an output sample gets its frames in their order, whatever L is.
    """
    for first in range(len(places) - LANES // 2, -1, -LANES // 2):
        _add_block(buffer, places, first, window, out, to, hop, last, spare)
