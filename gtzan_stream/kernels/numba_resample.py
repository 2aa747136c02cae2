"""Resampling of one row on one CPU core, in blocks of input samples; `gtzan_stream.dsp.resample` has the formulas.

`resample` needs nothing special of the CPU. `gtzan_stream.kernels.lanes_resample` does the same with vectors, and uses
`copy_block` and `locate`, too. A block is a copy of the input samples with which some outputs, one after another, are
computed from beginning to end:

    flat  samples of the row from ``begin - width`` on, and zeros beyond the row's ends
    u     the filtered signal from `begin` on, two samples for each input sample
    out   a weighted sum of 16 samples of u for each output
"""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels.compiled import compiled

TAPS = 16
"""Samples of u for each output sample."""
BATCH = 256
"""Outputs that are located at a time."""
_BLOCK = 512  # input samples of which u is computed at a time
_ZERO = np.float32(0)


@compiled()
@no_type_check
def copy_block(waveform, width, n, rate, offset, o, length, flat):
    """Copy what n input samples' u needs to `flat`, of at least n + 2 * width samples, for the outputs from `o` on.

    Return `begin`, the input time of u's first sample, the output after the last that this u is enough for, and whether
    the block has samples of the row.
    """
    begin = np.int64(np.floor(offset + o * rate)) - TAPS // 4
    last = begin + n - TAPS // 4 - 1  # outputs before this time have all samples of u, whatever is rounded below
    stop = max(min(length, np.int64(np.ceil((last - offset) / rate))), o + 1)
    start = begin - width
    first, end = max(-start, 0), min(len(waveform) - start, len(flat))
    if first >= end:
        return begin, stop, False
    flat[:first] = _ZERO
    flat[first:end] = waveform[start + first : start + end]
    flat[end:] = _ZERO
    return begin, stop, True


@compiled()
@no_type_check
def locate(rate, offset, o, begin, table, places, rows, weights):
    """Compute for outputs from `o` on: their first sample of u, a row of the table, and the weight of the next row."""
    fractions = len(table) // TAPS - 1
    for j in range(len(places)):
        time = 2 * (offset + (o + j) * rate - begin)  # in samples of u; above 0
        left = np.int32(time)
        delay = (time - left) * fractions
        row = np.int32(delay)
        places[j] = left - np.int32(TAPS // 2 - 1)
        rows[j] = row * np.int32(TAPS)
        weights[j] = np.float32(delay - row)


@compiled(fastmath={"contract", "reassoc", "nsz"})
@no_type_check
def _double_rate(flat, taps, at_samples, between, u):
    """Fill `u` with the filtered signal at the input samples, and half a sample after each."""
    width, n = len(taps) // 2, len(at_samples)
    at_samples[:], between[:] = _ZERO, _ZERO
    for first in range(width):  # the smallest products come first, which rounds least
        last = 2 * width - first
        even, odd = taps[2 * (width - first)], taps[2 * (width - first) - 1]
        before, here, ahead = flat[first : first + n], flat[first + 1 : first + 1 + n], flat[last : last + n]
        for i in range(n):
            at_samples[i] += even * (ahead[i] + before[i])
            between[i] += odd * (ahead[i] + here[i])
    at_samples += taps[0] * flat[width : width + n]
    for i in range(n):
        u[2 * i], u[2 * i + 1] = at_samples[i], between[i]


@compiled(fastmath={"contract", "reassoc", "nsz"})
@no_type_check
def _read(u, table, places, rows, weights, out):
    """Fill `out` with sums of 16 samples of `u` under filters between two rows of `table`."""
    for j in range(len(out)):
        samples, low, high = u[places[j] :], table[rows[j] :], table[rows[j] + TAPS :]
        total = _ZERO
        for tap in range(TAPS):
            total += samples[tap] * (low[tap] + weights[j] * (high[tap] - low[tap]))
        out[j] = total


@compiled()
@no_type_check
def resample(waveform, taps, table, rate, offset, out):
    """Fill `out` [length] with `waveform` [time] at positions ``offset + o * rate``, all float32.

    `taps` [2 * width + 1] are one side of the filter h, at every half input sample. `table`, flat [fractions + 1, 16],
    has the filters for u.
    """
    width = len(taps) // 2
    flat, u = np.empty(_BLOCK + 2 * width, np.float32), np.empty(2 * _BLOCK, np.float32)
    at_samples, between = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    places, rows, weights = np.empty(BATCH, np.int32), np.empty(BATCH, np.int32), np.empty(BATCH, np.float32)
    done = 0
    while done < len(out):
        begin, stop, has_samples = copy_block(waveform, width, _BLOCK, rate, offset, done, len(out), flat)
        if not has_samples:
            out[done:stop] = _ZERO
            done = stop
            continue
        _double_rate(flat, taps, at_samples, between, u)
        while done < stop:
            n = min(stop - done, BATCH)
            locate(rate, offset, done, begin, table, places[:n], rows[:n], weights[:n])
            _read(u, table, places, rows, weights, out[done : done + n])
            done += n
