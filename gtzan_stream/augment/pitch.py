"""PitchShift: change the pitch and keep the tempo."""

from __future__ import annotations

import numpy as np

from gtzan_stream.augment.ranges import between, check_range
from gtzan_stream.augment.warp import Warp
from gtzan_stream.dsp import pitch, stretch


class PitchShift(Warp):
    """Shift the pitch of each example and keep its tempo (`dsp.pitch.pitch_shift`).

    Parameters
    ----------
    min_n_steps, max_n_steps : float within +/-48
        The shift in semitones is uniform between them, not rounded; 12 is an octave up. The study's code draws 0 to 4,
        while its report says within 2.
    method : {"locked", "vocoder"}
        How time is stretched, as in `TimeStretch`.
    p : float in 0..1
        The probability that an example is changed.
    """

    parameter = choice = "n_steps"
    dsp_source, dsp_warp = staticmethod(pitch.source), staticmethod(pitch.pitch_shift)
    dsp_row = staticmethod(pitch.shift_row)

    def __init__(
        self, min_n_steps: float = 0.0, max_n_steps: float = 4.0, *, method: str = "locked", p: float = 1.0
    ) -> None:
        super().__init__(p=p)
        stretch.check_method(method)
        check_range(
            "PitchShift", "n_steps", min_n_steps, max_n_steps, "within +/-48 semitones", lambda steps: abs(steps) <= 48
        )
        self.min_n_steps, self.max_n_steps = float(min_n_steps), float(max_n_steps)
        self.options = {"method": method}

    @property
    def method(self) -> str:
        """How time is stretched."""
        return self.options["method"]

    def draw_value(self, uniform: np.ndarray) -> np.ndarray:
        return between(self.min_n_steps, self.max_n_steps, uniform)

    def extra_repr(self) -> str:
        return f"{self.min_n_steps:g}..{self.max_n_steps:g} semitones, {self.method}, p={self.p:g}"
