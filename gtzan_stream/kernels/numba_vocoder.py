"""The phase vocoder's recursion on one CPU core; `gtzan_stream.dsp.vocoder` has the formulas.

Bins are independent, so the inner loop over frequency vectorises. Spectra are float32 views of complex64 arrays: real
and imaginary parts alternate along the last axis.
"""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.compiled import compiled

_SILENT = np.float32(constants.SILENT_POWER)


@compiled(fastmath={"contract", "reassoc", "nsz", "arcp"})
@no_type_check
def vocode(spectrogram: np.ndarray, position: np.ndarray, phase: np.ndarray, output: np.ndarray) -> None:
    """Compute output frames: interpolated magnitudes times accumulated phases.

    Parameters
    ----------
    spectrogram : [frame, 2 * freq]
        Input frames, up to and including frame ``floor(position[-1]) + 1``.
    position : float64 [output frame]
        Where each output frame reads, in frames of `spectrogram`; at least 0.
    phase : [2, freq]
        Real and imaginary parts of the unit phasor P of the first output frame; replaced by that of the frame after the
        last, for the next call.
    output : [output frame, 2 * freq]
        Overwritten.
    """
    one, half, three_halves = np.float32(1), np.float32(0.5), np.float32(1.5)
    for k in range(len(position)):
        left = int(position[k])
        alpha = np.float32(position[k] - left)
        for f in range(phase.shape[1]):
            # a = X[left], b = X[left + 1]
            ar, ai = spectrogram[left, 2 * f], spectrogram[left, 2 * f + 1]
            br, bi = spectrogram[left + 1, 2 * f], spectrogram[left + 1, 2 * f + 1]
            a_power, b_power = ar * ar + ai * ai, br * br + bi * bi
            a_level, b_level = np.sqrt(a_power), np.sqrt(b_power)
            level = a_level + alpha * (b_level - a_level)
            pr, pi = phase[0, f], phase[1, f]
            output[k, 2 * f], output[k, 2 * f + 1] = level * pr, level * pi
            # Make a and b unit phasors, 1 where silent.
            a_audible, b_audible = a_power > _SILENT, b_power > _SILENT
            a_scale, b_scale = one / (a_level if a_audible else one), one / (b_level if b_audible else one)
            ar, ai = (ar * a_scale if a_audible else one), ai * a_scale
            br, bi = (br * b_scale if b_audible else one), bi * b_scale
            # The phase is accumulated here: rotation r = conj(a) * b, P <- P * r.
            rr, ri = ar * br + ai * bi, ar * bi - ai * br
            pr, pi = pr * rr - pi * ri, pr * ri + pi * rr
            # Scale back to length 1: one Newton step for 1 / sqrt(|P|^2), as |P| is near 1 already.
            scale = three_halves - half * (pr * pr + pi * pi)
            phase[0, f], phase[1, f] = pr * scale, pi * scale
