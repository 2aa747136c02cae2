"""The log-mel spectrogram of one row of samples, L frames side by side.

`gtzan_stream.dsp.mel` has the formulas. A group of L frames goes through all steps before the next group begins, and
each step computes all L frames at once, one in each lane (`gtzan_stream.kernels.vector` has a picture):

    samples  --cut-->  frames       [n_fft, lane]           frame t of the group is lane t   (lanes_frames)
             --fft-->  Z            [n_fft / 2, 2, lane]    in place, in another order       (lanes_fft)
             ------->  magnitudes   [n_fft / 2 + 1, lane]   bins in order; X is never stored (lanes_rfft)
             ------->  bands, log   out[mel, t : t + L]     a band of L frames is one vector, as in `out`

The last group overlaps the one before it, so that there is no loop for a remainder. A row with fewer than L frames
repeats its last frame in the other lanes, which are dropped.
"""

from typing import no_type_check

import numpy as np
from numba import types
from numba.extending import intrinsic

from gtzan_stream.kernels.compiled import compiled
from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.lanes_fft import STEP, fft
from gtzan_stream.kernels.lanes_frames import INT16_SCALE, cut
from gtzan_stream.kernels.lanes_log import log
from gtzan_stream.kernels.lanes_rfft import even_and_odd
from gtzan_stream.kernels.vector import broadcast, element, fma, load, splat, store, where_less
from gtzan_stream.kernels.vector_code import call, code, is_flat

_ZERO, _ONE = np.float32(0), np.float32(1)


@no_type_check
def _magnitudes_of(is_power):
    """Make the function that computes magnitudes, or their squares, of two bins."""

    @intrinsic
    def compute(typing_context, buffer, here, mirrored, roots, index, magnitude, low, high):
        def write(builder, buffer, here, mirrored, roots, index, magnitude, low, high):
            even, odd = even_and_odd(builder, buffer, here, mirrored, roots, index)
            for square, position in (((even + odd).square(), low), ((even - odd).square(), high)):
                magnitude.store(square if is_power else call(builder, "sqrt", square), position)

        i = types.intp
        flat = is_flat(buffer, roots, magnitude)
        return (types.void(buffer, i, i, roots, i, magnitude, i, i), code(write)) if flat else None

    return compute


_magnitudes, _powers = _magnitudes_of(False), _magnitudes_of(True)


@compiled()
@no_type_check
def _spectrum(buffer, plan, is_power, magnitude):
    """Fill `magnitude` [n + 1, lane] from the FFT of L real signals."""
    n, places = len(plan.places), plan.places
    for k in range(n // 2 + 1):
        here, mirrored = element(places, k) * STEP, element(places, n - k if k else 0) * STEP
        if is_power:
            _powers(buffer, here, mirrored, plan.roots, 2 * k, magnitude, k * LANES, (n - k) * LANES)
        else:
            _magnitudes(buffer, here, mirrored, plan.roots, 2 * k, magnitude, k * LANES, (n - k) * LANES)


@compiled()
@no_type_check
def _bands(magnitude, starts, widths, weights, gain, floor, scale, out, position, step):
    """Write the logarithm of each band to ``out[position + band * step]`` and the L - 1 numbers after it."""
    one, widest = splat(_ONE), len(weights) // len(starts)
    for band in range(len(starts)):
        total, first = splat(_ZERO), element(starts, band) * LANES
        for i in range(element(widths, band)):
            total = fma(broadcast(weights, band * widest + i), load(magnitude, first + i * LANES), total)
        if gain > _ZERO:
            x = splat(gain) * total
            value = one + x
            correction = (x - (value - one)) / value  # for the rounding of 1 + x
        else:
            correction = total - total  # 0, or NaN if it is not finite, which `log` does not handle
            value = where_less(splat(floor), total, total, splat(floor))
        store(out, position + band * step, splat(scale) * (log(value) + correction))


@compiled()
@no_type_check
def log_mel(samples, hop, window, plan, starts, widths, weights, is_power, scale, gain, floor, memory, out):
    """Fill `out`, float32 [mel, frame], from `samples`, int16 or float32 [time]. Nothing is checked.

    `window` is a `scaled_window`, and `plan` the one of `lanes_fft` for its length. `starts`, `widths` and `weights`,
    flat, are those of `dsp.mel_bands.Bands`; `scale`, `gain` and `floor` those of `LogCompression`. Magnitudes are
    squared if `is_power`. `memory` has `scratch_size` numbers.
    """
    n_mels, n_frames = out.shape
    end = len(window) * LANES
    buffer, magnitude = memory[:end], memory[end : end + (len(window) // 2 + 1) * LANES]
    target, step = out.reshape(-1), n_frames
    if n_frames < LANES:
        target, step = memory[end + len(magnitude) :], LANES
    for frame in range(0, n_frames, LANES):
        first = max(min(frame, n_frames - LANES), 0)
        cut(samples, first * hop, hop, n_frames - 1, window, buffer)
        fft(buffer, plan)
        _spectrum(buffer, plan, is_power, magnitude)
        _bands(magnitude, starts, widths, weights, gain, floor, scale, target, first, step)
    if n_frames < LANES:
        for band in range(n_mels):
            for frame in range(n_frames):
                out[band, frame] = target[band * step + frame]


def scaled_window(window: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the window for int16 or float32 samples.

    It contains the factor 1/2 of `lanes_rfft`, and for int16 the scale 1 / 32768. These are powers of two and change no
    digit, so that both kinds of samples give equal bits.
    """
    return (0.5 * window * (INT16_SCALE / 32768 if dtype == np.int16 else 1)).astype(np.float32)


def scratch_size(n_fft: int, n_mels: int) -> int:
    """Return how many numbers one row needs for intermediate results."""
    return (n_fft + n_fft // 2 + 1 + n_mels) * LANES
