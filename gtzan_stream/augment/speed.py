"""SpeedPerturb: a tape played faster or slower."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw, Samples, Source
from gtzan_stream.augment.ranges import between, check_range
from gtzan_stream.dsp import resample


class SpeedPerturb(Transform):
    """Play each example faster or slower, so that tempo and pitch move together, by band-limited resampling.

    Parameters
    ----------
    min_factor, max_factor : float > 0
        New length over old length, uniform between them; below 1 is faster and higher. The study's "Pitch and Speed"
        is 0.8 to 1.
    p : float in 0..1
        The probability that an example is changed.

    References
    ----------
    .. [1] T. Ko, V. Peddinti, D. Povey, S. Khudanpur, "Audio augmentation for speech recognition", Interspeech 2015.
    """

    def __init__(self, min_factor: float = 0.8, max_factor: float = 1.0, *, p: float = 1.0) -> None:
        super().__init__(p=p)
        check_range("SpeedPerturb", "factor", min_factor, max_factor, "> 0", lambda factor: factor > 0)
        self.min_factor, self.max_factor = float(min_factor), float(max_factor)

    def parameters_of(self, samples: Samples, path: str) -> dict[str, np.ndarray]:
        return {"factor": between(self.min_factor, self.max_factor, samples.uniform(f"{path}.factor"))}

    def rates(self, draw: Draw) -> np.ndarray:
        return 1 / draw.values["factor"]

    def window(self, length: np.ndarray, draw: Draw) -> Source:
        return Source(*resample.window(length, self.rates(draw)))

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        step = self.rates(draw)
        if length is None:
            return resample.resample(waveform, step, waveform.shape[1])
        before, _ = resample.window(length, step)
        return resample.resample(waveform, step, length, offset=before.astype(float))

    def extra_repr(self) -> str:
        return f"length factor {self.min_factor:g}..{self.max_factor:g}, p={self.p:g}"
