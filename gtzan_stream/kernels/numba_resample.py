"""Windowed-sinc resampling of one row on one CPU core; `gtzan_stream.dsp.resample` has the formulas.

`tabulate_filters` makes the row's filters for delays of 0, 1/256, ..., 1 sample, [delay, tap], by interpolating the
prototype. `apply_filters` splits each output's position into a whole sample `left` and a fraction, and sums the samples
around `left` under the two filters nearest to the fraction, interpolated linearly:

    delay = fraction * N_DELAYS;  row = floor(delay)
    y = sum over tap of x[left - half_width + 1 + tap] * lerp(table[row, tap], table[row + 1, tap], delay - row)

A table costs as much as about 257 outputs. With it, samples and filters are read in order, so the sum vectorises.
"""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels.compiled import compiled

N_DELAYS = 256
"""Fractions of a sample with a filter of their own; interpolation between two of them is wrong by 1e-5 at most."""
LANES = 16
"""Filters are padded with zeros to a multiple of this, so that vectorised sums have no remainder."""


@compiled()
@no_type_check
def tabulate_filters(prototype: np.ndarray, points_per_crossing: int, cutoff: float, half_width: int) -> np.ndarray:
    """Tabulate the low-pass filter for delays of 0, 1 / N_DELAYS, ..., 1 sample: float32 [N_DELAYS + 1, tap].

    Tap i is for input sample ``left - half_width + 1 + i``, where `left` is the sample at or before an output's
    position.

    `prototype` is one side of a windowed sinc with `points_per_crossing` points for each zero crossing; it ends in
    zeros.
    """
    table = np.zeros((N_DELAYS + 1, -(-2 * half_width // LANES) * LANES), np.float32)
    for row in range(N_DELAYS + 1):
        for tap in range(2 * half_width):
            point = abs(tap - (half_width - 1) - row / N_DELAYS) * cutoff * points_per_crossing
            index = int(point)
            if index + 1 < len(prototype):
                low, high = prototype[index], prototype[index + 1]
                table[row, tap] = cutoff * (low + (point - index) * (high - low))
    return table


@compiled(fastmath={"contract", "reassoc", "nsz"})
@no_type_check
def apply_filters(
    waveform: np.ndarray, table: np.ndarray, half_width: int, rate: float, offset: float, output: np.ndarray
) -> None:
    """Fill `output` [length] with `waveform` [time] filtered by `table` at positions ``offset + o * rate``."""
    time, n_taps = len(waveform), table.shape[1]
    padded = np.zeros(time + 2 * n_taps, np.float32)
    padded[n_taps : n_taps + time] = waveform
    for o in range(len(output)):
        position = offset + o * rate
        left = int(np.floor(position))
        if left < -half_width or left >= time + half_width:
            output[o] = 0
            continue
        delay = (position - left) * N_DELAYS
        row = int(delay)
        low, high = table[row], table[row + 1]
        samples = padded[left - half_width + 1 + n_taps :]
        fraction, total = np.float32(delay - row), np.float32(0)
        for tap in range(n_taps):
            total += samples[tap] * (low[tap] + fraction * (high[tap] - low[tap]))
        output[o] = total
