"""Compute log-mel bands from a spectrum on the CPU, one frame at a time, so that all arrays stay in the L1 cache.

`gtzan_stream.dsp.mel` has the formulas, including how log(1 + x) keeps the digits of a small x. The logarithm itself is
`numba_log`, as a call to the C library's log would keep the loop from being vectorised.
"""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels.compiled import compiled
from gtzan_stream.kernels.numba_log import exponent_of, log_of, without_exponent

_F = np.float32  # so that nothing widens to double
_ZERO, _HALF, _ONE, _TWO = _F(0), _F(0.5), _F(1), _F(2)


@compiled(fastmath={"contract", "reassoc", "nsz"})
@no_type_check
def mel(spectrum, starts, widths, weights, power, gain, floor, scale, out):
    """Fill `out`, float32 [mel, frame], from complex64 `spectrum` [frame, freq].

    `starts`, `widths` and `weights` are those of `dsp.mel_bands.Bands`; `gain`, `floor` and `scale` those of
    `LogCompression`.
    """
    n_bins, n_mels = spectrum.shape[1], len(starts)
    magnitude = np.empty(n_bins, np.float32)
    band, logarithm = np.empty(n_mels, np.float32), np.empty(n_mels, np.float32)
    correction = np.zeros(n_mels, np.float32)
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
            band[m] = total
        _compress(band, gain, floor, logarithm, correction)
        for m in range(n_mels):
            out[m, t] = scale * (logarithm[m] + correction[m])


@compiled(fastmath={"contract"})
@no_type_check
def _compress(value, gain, floor, logarithm, correction):
    """Compute the logarithms, and the correction for the rounding of 1 + x; overwrites `value`.

    This is a separate function without "reassoc", because reassociation would simplify ``x - ((1 + x) - 1)`` to 0.
    """
    for m in range(len(value)):
        if gain > _ZERO:
            x = gain * value[m]
            value[m] = _ONE + x
            correction[m] = (x - (value[m] - _ONE)) / value[m]
        else:
            correction[m] = value[m] - value[m]  # 0, or NaN if it is not finite, which `_log` does not handle
            value[m] = value[m] if value[m] > floor else floor
    _log(value, logarithm)


@compiled(fastmath={"contract"})
@no_type_check
def _log(value, out):
    """Fill `out` with the natural logarithms of normal float32 numbers; overwrites `value`.

    Range reduction and polynomial are separate loops, so that each vectorises.
    """
    bits = value.view(np.int32)
    for i in range(len(value)):
        exponent = exponent_of(bits[i])
        bits[i] = without_exponent(bits[i], exponent)
        out[i] = _F(exponent)
    for i in range(len(value)):
        out[i] = log_of(value[i] - _ONE, out[i])
