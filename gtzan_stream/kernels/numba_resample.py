"""Windowed-sinc resampling of one row on one CPU core: a table of filters for 256 delays, and sums over it."""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels.compiled import compiled

DELAYS = 256
"""Fractions of a sample with a filter of their own; between two of them outputs are interpolated, 1e-5 off at most."""
LANES = 16
"""Filters are padded with zeros to a multiple of this, so that no sum has a remainder to add one by one."""


@compiled()
@no_type_check
def filters(prototype: np.ndarray, per_crossing: int, cutoff: float, reach: int) -> np.ndarray:
    """Tabulate the low-pass filter for delays of 0, 1 / DELAYS, ... 1 samples as float32 [DELAYS + 1, tap].

    The first tap is for the sample ``reach - 1`` before the one left of an output's time.

    `prototype` holds one side of a windowed sinc with `per_crossing` points for each zero crossing, and ends in zeros.
    """
    table = np.zeros((DELAYS + 1, -(-2 * reach // LANES) * LANES), np.float32)
    for row in range(DELAYS + 1):
        for tap in range(2 * reach):
            place = abs(tap - (reach - 1) - row / DELAYS) * cutoff * per_crossing
            index = int(place)
            if index + 1 < len(prototype):
                low, high = prototype[index], prototype[index + 1]
                table[row, tap] = cutoff * (low + (place - index) * (high - low))
    return table


@compiled(fastmath={"contract", "reassoc", "nsz"})
@no_type_check
def convolve(
    waveform: np.ndarray, table: np.ndarray, reach: int, rate: float, offset: float, output: np.ndarray
) -> None:
    """Fill `output` [length] with `waveform` [time] filtered by `table` at times ``offset + o * rate``."""
    time, n_taps = len(waveform), table.shape[1]
    padded = np.zeros(time + 2 * n_taps, np.float32)
    padded[n_taps : n_taps + time] = waveform
    for o in range(len(output)):
        instant = offset + o * rate
        left = int(np.floor(instant))
        if left < -reach or left >= time + reach:
            output[o] = 0
            continue
        delay = (instant - left) * DELAYS
        row = int(delay)
        near, far = table[row], table[row + 1]
        samples = padded[left - reach + 1 + n_taps :]
        fraction, total = np.float32(delay - row), np.float32(0)
        for tap in range(n_taps):
            total += samples[tap] * (near[tap] + fraction * (far[tap] - near[tap]))
        output[o] = total
