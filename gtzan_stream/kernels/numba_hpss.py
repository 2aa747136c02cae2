"""Elementwise loops of harmonic-percussive separation on the CPU, without temporaries."""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels.compiled import compiled

_TINY = np.finfo(np.float32).tiny
_ONE, _TWO = np.float32(1), np.float32(2)


@compiled(fastmath={"contract"})
@no_type_check
def magnitude(spectrogram, out):
    """Absolute values of complex64 [frame, freq] into float32 `out`."""
    for t in range(spectrogram.shape[0]):
        for k in range(spectrogram.shape[1]):
            z = spectrogram[t, k]
            out[t, k] = np.sqrt(z.real * z.real + z.imag * z.imag)


@compiled(fastmath={"contract"})
@no_type_check
def mask(spectrogram, percussive, harmonic, power, margin, empty):
    """Multiply complex64 [frame, freq] by the soft mask of its percussive part; `empty` where both are 0."""
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
            gain = empty if larger < _TINY else p / (p + h)
            spectrogram[t, k] = spectrogram[t, k] * gain
