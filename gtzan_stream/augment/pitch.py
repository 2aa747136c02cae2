"""PitchShift: another pitch, the same tempo."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw, Samples, Source
from gtzan_stream.augment.ranges import between, check_range
from gtzan_stream.dsp import pitch


class PitchShift(Transform):
    """Shift the pitch of each example and keep its tempo (`dsp.pitch.pitch_shift`).

    Parameters
    ----------
    min_n_steps, max_n_steps : float within +/-48
        Semitones, uniform between them and not rounded; 12 is an octave up. The study's code draws 0 to 4, its report
        says within 2.
    p : float in 0..1
        The probability that an example is changed.
    """

    def __init__(self, min_n_steps: float = 0.0, max_n_steps: float = 4.0, *, p: float = 1.0) -> None:
        super().__init__(p=p)
        check_range(
            "PitchShift", "n_steps", min_n_steps, max_n_steps, "within +/-48 semitones", lambda steps: abs(steps) <= 48
        )
        self.min_n_steps, self.max_n_steps = float(min_n_steps), float(max_n_steps)

    def parameters_of(self, samples: Samples, path: str) -> dict[str, np.ndarray]:
        return {"n_steps": between(self.min_n_steps, self.max_n_steps, samples.uniform(f"{path}.n_steps"))}

    def window(self, length: np.ndarray, draw: Draw) -> Source:
        return Source(*pitch.window(length, draw.values["n_steps"]))

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        n_steps = draw.values["n_steps"]
        if length is None:
            return pitch.pitch_shift(waveform, n_steps, waveform.shape[1])
        before, _ = pitch.window(length, n_steps)
        return pitch.pitch_shift(waveform, n_steps, length, offset=before.astype(float))

    def extra_repr(self) -> str:
        return f"{self.min_n_steps:g}..{self.max_n_steps:g} semitones, p={self.p:g}"
