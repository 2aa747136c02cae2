"""From the spectrum to the compressed mel bands on the CPU, frame by frame in cache, without a call to log."""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels.compiled import compiled
from gtzan_stream.kernels.numba_log import exponent_of, log_of, without_exponent

_F = np.float32  # so that nothing widens to double
_ZERO, _HALF, _ONE, _TWO = _F(0), _F(0.5), _F(1), _F(2)


@compiled()
@no_type_check
def cut(waveform, window, hop, first, frames):
    """Fill `frames`, float32 [frame, n_fft], with windowed frames `first`, `first` + 1, ... of float32 [time]."""
    for t in range(frames.shape[0]):
        source = waveform[(first + t) * hop : (first + t) * hop + frames.shape[1]]
        for i in range(frames.shape[1]):
            frames[t, i] = source[i] * window[i]


@compiled(fastmath={"contract", "reassoc", "nsz"})
@no_type_check
def mel(spectrum, starts, widths, weights, power, gain, floor, scale, out):
    """Fill `out`, float32 [mel, frame], from complex64 `spectrum` [frame, freq].

    A band m is ``sum(weights * |spectrum| ** power)`` over its own bins; `out` is ``scale * log(1 + gain * m)`` where
    `gain` is positive, else ``scale * log(max(m, floor))``.
    """
    n_bins, n_mels = spectrum.shape[1], len(starts)
    magnitude = np.empty(n_bins, np.float32)
    value, logarithm, lost = np.empty(n_mels, np.float32), np.empty(n_mels, np.float32), np.zeros(n_mels, np.float32)
    for t in range(spectrum.shape[0]):
        frame = spectrum[t]
        for k in range(n_bins):
            magnitude[k] = frame[k].real * frame[k].real + frame[k].imag * frame[k].imag
        if power == _ONE:
            for k in range(n_bins):
                magnitude[k] = np.sqrt(magnitude[k])
        elif power != _TWO:
            for k in range(n_bins):
                magnitude[k] = magnitude[k] ** (_HALF * power)
        for m in range(n_mels):
            total, start = _ZERO, starts[m]
            for k in range(widths[m]):
                total += weights[m, k] * magnitude[start + k]
            value[m] = total
        _compress(value, gain, floor, logarithm, lost)
        for m in range(n_mels):
            out[m, t] = scale * (logarithm[m] + lost[m])


@compiled(fastmath={"contract"})
@no_type_check
def _compress(value, gain, floor, logarithm, lost):
    """Logarithms, and what rounding took from log(1 + x); apart from the sums, whose reassociation would undo that."""
    for m in range(len(value)):
        if gain > _ZERO:
            small = gain * value[m]
            value[m] = _ONE + small
            lost[m] = (small - (value[m] - _ONE)) / value[m]
        else:
            value[m] = value[m] if value[m] > floor else floor
    _log(value, logarithm)


@compiled(fastmath={"contract"})
@no_type_check
def _log(value, out):
    """Natural logarithms of normal float32 numbers; overwrites `value`."""
    bits = value.view(np.int32)
    for i in range(len(value)):
        exponent = exponent_of(bits[i])
        bits[i] = without_exponent(bits[i], exponent)
        out[i] = _F(exponent)
    for i in range(len(value)):
        out[i] = log_of(value[i] - _ONE, out[i])
