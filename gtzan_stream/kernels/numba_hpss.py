"""Magnitudes and soft mask of harmonic-percussive separation on the CPU, each in one pass without temporary arrays.

`gtzan_stream.dsp.hpss` has the formula.
"""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels.compiled import compiled

_TINY = np.finfo(np.float32).tiny
_ONE, _TWO = np.float32(1), np.float32(2)


@compiled(fastmath={"contract"})
@no_type_check
def magnitude(spectrogram, out):
    """Fill `out`, float32, with the absolute values of complex64 [frame, freq]."""
    for t in range(spectrogram.shape[0]):
        for k in range(spectrogram.shape[1]):
            z = spectrogram[t, k]
            out[t, k] = np.sqrt(z.real * z.real + z.imag * z.imag)


@compiled(fastmath={"contract"})
@no_type_check
def mask(spectrogram, percussive, harmonic, power, margin, silent_mask):
    """Multiply complex64 [frame, freq] by its percussive mask, in place.

    `percussive` and `harmonic` are the medians, float32 [frame, freq]; where both are 0 the mask is `silent_mask`.
    """
    for t in range(spectrogram.shape[0]):
        for k in range(spectrogram.shape[1]):
            p, h = percussive[t, k], margin * harmonic[t, k]
            larger = p if p > h else h
            scale = _ONE if larger < _TINY else larger
            p, h = p / scale, h / scale
            if power == _TWO:
                p, h = p * p, h * h
            else:
                p, h = p**power, h**power
            gain = silent_mask if larger < _TINY else p / (p + h)
            spectrogram[t, k] = spectrogram[t, k] * gain
