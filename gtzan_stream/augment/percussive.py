"""Percussive: keep the percussive part, mostly drums."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw, Source
from gtzan_stream.dsp.hpss import percussive, percussive_row

HOP = 512
MARGIN = 20 * HOP
"""Samples to read on each side. Half of the 31-frame median takes 15 hops, half a frame of the STFT and half a frame of
its inverse take 2 hops each, and one is spare."""


class Percussive(Transform):
    """Keep the percussive part of each example, by harmonic-percussive separation (`dsp.hpss.percussive`).

    The parameters are librosa's defaults: n_fft 2048, hop 512, medians of 31, power 2, margin 1. Segments are read with
    20 extra hops on each side. A segment that starts at a multiple of 512 samples then equals that piece of the whole
    clip's percussive part.

    Parameters
    ----------
    p : float in 0..1
        The probability that an example is changed.

    References
    ----------
    .. [1] D. FitzGerald, "Harmonic/percussive separation using median filtering", DAFx 2010.
    """

    def source_of(self, length: np.ndarray, draw: Draw) -> Source:
        return Source(np.full_like(length, MARGIN), length + 2 * MARGIN)

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        if length is None:
            return percussive(waveform)
        return percussive(waveform[:, : length + 2 * MARGIN])[:, MARGIN : MARGIN + length]

    def compute_row(self, samples: np.ndarray, draw: Draw, row: int, before: int | None, out: np.ndarray) -> None:
        if before is None:
            percussive_row(samples, out)
        else:
            percussive_row(samples[: len(out) + 2 * MARGIN], out, before=MARGIN)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"
