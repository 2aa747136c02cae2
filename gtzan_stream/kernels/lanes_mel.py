"""The log-mel spectrogram of one row of samples, L frames side by side.

`gtzan_stream.dsp.mel` has the formulas. A group of L frames goes through all steps before the next group begins, and
each step computes all L frames at once, one in each lane (`gtzan_stream.kernels.vector` has a picture):

    samples  --cut----->  frames       [n_fft, lane]                frame first + l is lane l           (lanes_frames)
             --fft----->  Z            [n_fft / 2, 2, lane]         real and imaginary parts            (lanes_fft)
             --split--->  magnitudes   [n_fft / 2 + 1, lane]        of X, the spectra of the frames     (lanes_rfft)
             --bands--->  logarithms   out[mel, first : first + L]  L frames of a band are adjacent in `out`: a vector

Z is the FFT of the n_fft samples taken as n_fft / 2 complex numbers, in place of the frames. Its bin k is at
``plan.places[k]``. X is made of Z two bins at a time, and only its magnitudes are stored.

The last group is moved back, so that it ends at the last frame: with L = 8, 10 frames are the groups 0 to 7 and 2 to 9,
and frames 2 to 7 are computed twice, with equal results. In a row of fewer than L frames, the other lanes repeat the
last frame. The bands then go to scratch memory [mel, lane] first, as a vector is longer than a row of `out`.
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
from gtzan_stream.kernels.vector import broadcast, fma, integer_at, load, splat, store, where_less
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
    """Fill `magnitude` [n + 1, lane] from Z, the FFT of L real signals; n is n_fft / 2. Z[n] is Z[0]."""
    n, places = len(plan.places), plan.places
    for k in range(n // 2 + 1):
        here, mirrored = integer_at(places, k) * STEP, integer_at(places, n - k if k else 0) * STEP
        if is_power:
            _powers(buffer, here, mirrored, plan.roots, 2 * k, magnitude, k * LANES, (n - k) * LANES)
        else:
            _magnitudes(buffer, here, mirrored, plan.roots, 2 * k, magnitude, k * LANES, (n - k) * LANES)


@compiled()
@no_type_check
def _bands(magnitude, starts, widths, weights, gain, floor, scale, out, position, step):
    """Write the logarithm of each band to ``out[position + band * step]`` and the L - 1 numbers after it."""
    one, widest = splat(_ONE), len(weights) // len(starts)  # weights are [band, widest], flat
    for band in range(len(starts)):
        total, first = splat(_ZERO), integer_at(starts, band) * LANES
        for i in range(integer_at(widths, band)):
            total = fma(broadcast(weights, band * widest + i), load(magnitude, first + i * LANES), total)
        if gain > _ZERO:
            x = splat(gain) * total
            value = one + x
            correction = (x - (value - one)) / value  # what log loses if 1 + x is rounded, to first order
        else:
            correction = total - total  # 0; NaN if `total` is infinite or NaN, which `log` would not pass on
            value = where_less(splat(floor), total, total, splat(floor))  # the larger one; `floor` if `total` is NaN
        store(out, position + band * step, splat(scale) * (log(value) + correction))


@compiled()
@no_type_check
def log_mel(samples, hop, window, plan, starts, widths, weights, is_power, scale, gain, floor, memory, out):
    """Fill `out`, float32 [mel, frame], from `samples`, int16 or float32 [time]. Nothing is checked.

    `window` is a `scaled_window`, and `plan` is ``lanes_fft.plan(len(window))``. `starts`, `widths` and `weights`,
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
        cut(samples, first * hop, hop, n_frames - 1, window, buffer)  # lanes after the row's last frame repeat it
        fft(buffer, plan)
        _spectrum(buffer, plan, is_power, magnitude)
        _bands(magnitude, starts, widths, weights, gain, floor, scale, target, first, step)
    if n_frames < LANES:
        for band in range(n_mels):
            for frame in range(n_frames):
                out[band, frame] = target[band * step + frame]


def scaled_window(window: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the window for int16 or float32 samples.

    It contains the factor 1/2 of `lanes_rfft`. For int16 it also contains 1 / 32768, and `INT16_SCALE` because `cut`
    yields larger numbers. All are powers of two, which change no digit, so int16 samples s and float32 samples
    s / 32768 give equal bits.
    """
    scale = INT16_SCALE / 32768 if dtype == np.int16 else 1.0
    return (0.5 * scale * window).astype(np.float32)


def scratch_size(n_fft: int, n_mels: int) -> int:
    """Return how many numbers one row needs for intermediate results."""
    return (n_fft + n_fft // 2 + 1 + n_mels) * LANES
