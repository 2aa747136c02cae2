"""TimeStretch: another tempo, the same pitch."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw, Samples, Source
from gtzan_stream.augment.ranges import between, check_range
from gtzan_stream.dsp import stretch


class TimeStretch(Transform):
    """Change the tempo of each example and keep its pitch, by a phase vocoder (`dsp.stretch.time_stretch`).

    Parameters
    ----------
    min_rate, max_rate : float > 0
        The rate is uniform between them; above 1 is faster. The study's "Speed Change" is 0.9 to 1.1.
    p : float in 0..1
        The probability that an example is changed.
    """

    def __init__(self, min_rate: float = 0.9, max_rate: float = 1.1, *, p: float = 1.0) -> None:
        super().__init__(p=p)
        check_range("TimeStretch", "rate", min_rate, max_rate, "> 0", lambda rate: rate > 0)
        self.min_rate, self.max_rate = float(min_rate), float(max_rate)

    def parameters_of(self, samples: Samples, path: str) -> dict[str, np.ndarray]:
        return {"rate": between(self.min_rate, self.max_rate, samples.uniform(f"{path}.rate"))}

    def rates(self, draw: Draw) -> np.ndarray:
        return draw.values["rate"]

    def window(self, length: np.ndarray, draw: Draw) -> Source:
        return Source(*stretch.window(length, draw.values["rate"]))

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        rate = draw.values["rate"]
        if length is None:
            return stretch.time_stretch(waveform, rate, waveform.shape[1])
        before, _ = stretch.window(length, rate)
        return stretch.time_stretch(waveform, rate, length, offset=before.astype(float))

    def extra_repr(self) -> str:
        return f"{self.min_rate:g}..{self.max_rate:g}, p={self.p:g}"
