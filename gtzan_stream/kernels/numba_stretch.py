"""The phase vocoder's recursion on one CPU core."""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.compiled import compiled

_SILENT = np.float32(constants.SILENT_POWER)


@compiled(fastmath={"contract", "reassoc", "nsz", "arcp"})
@no_type_check
def vocode(spectrogram: np.ndarray, position: np.ndarray, phase: np.ndarray, output: np.ndarray) -> None:
    """Read a spectrogram at fractional frames, turning each bin by a running product of unit phasors.

    Real and imaginary parts alternate along the last axis of float32 arrays.

    Parameters
    ----------
    spectrogram : [frame, 2 * freq]
        Input frames; the last position needs the frame after its own.
    position : float64 [output frame]
        Where to read, in frames of `spectrogram`, not negative.
    phase : [2, freq]
        Real and imaginary parts of the running product before the first output frame; left as it is after the last.
    output : [output frame, 2 * freq]
        Overwritten.
    """
    one, half, three_halves = np.float32(1), np.float32(0.5), np.float32(1.5)
    for row in range(len(position)):
        left = int(position[row])
        alpha = np.float32(position[row] - left)
        for f in range(phase.shape[1]):
            ar, ai = spectrogram[left, 2 * f], spectrogram[left, 2 * f + 1]
            br, bi = spectrogram[left + 1, 2 * f], spectrogram[left + 1, 2 * f + 1]
            a_power, b_power = ar * ar + ai * ai, br * br + bi * bi
            a_level, b_level = np.sqrt(a_power), np.sqrt(b_power)
            level = a_level + alpha * (b_level - a_level)
            pr, pi = phase[0, f], phase[1, f]
            output[row, 2 * f], output[row, 2 * f + 1] = level * pr, level * pi
            a_heard, b_heard = a_power > _SILENT, b_power > _SILENT
            a_scale, b_scale = one / (a_level if a_heard else one), one / (b_level if b_heard else one)
            ar, ai = (ar * a_scale if a_heard else one), ai * a_scale
            br, bi = (br * b_scale if b_heard else one), bi * b_scale
            tr, ti = ar * br + ai * bi, ar * bi - ai * br
            pr, pi = pr * tr - pi * ti, pr * ti + pi * tr
            scale = three_halves - half * (pr * pr + pi * pi)  # back to length 1, or rounding would add up
            phase[0, f], phase[1, f] = pr * scale, pi * scale
