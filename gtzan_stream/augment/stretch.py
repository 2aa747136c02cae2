"""TimeStretch: change the tempo and keep the pitch."""

from __future__ import annotations

import numpy as np

from gtzan_stream.augment.draw import Draw
from gtzan_stream.augment.ranges import between, check_range
from gtzan_stream.augment.warp import Warp
from gtzan_stream.dsp import stretch


class TimeStretch(Warp):
    """Change the tempo of each example and keep its pitch (`dsp.stretch.time_stretch`).

    Parameters
    ----------
    min_rate, max_rate : float > 0
        The rate is uniform between them; above 1 is faster. The study's "Speed Change" is 0.9 to 1.1.
    method : {"locked", "vocoder"}
        "locked" keeps the level and the attacks. "vocoder" is librosa's phase vocoder, which the study used: it is
        about 3 dB quieter than its input and blurs attacks.
    p : float in 0..1
        The probability that an example is changed.

    Notes
    -----
    With "vocoder", a sample that is not finite may make the rest of its row not finite, because the output phase is a
    running product. With "locked", it does so to the frames that read it.
    """

    parameter = choice = "rate"
    dsp_source, dsp_warp = staticmethod(stretch.source), staticmethod(stretch.time_stretch)
    dsp_row = staticmethod(stretch.stretch_row)

    def __init__(self, min_rate: float = 0.9, max_rate: float = 1.1, *, method: str = "locked", p: float = 1.0) -> None:
        super().__init__(p=p)
        stretch.check_method(method)
        check_range("TimeStretch", "rate", min_rate, max_rate, "> 0", lambda rate: rate > 0)
        self.min_rate, self.max_rate = float(min_rate), float(max_rate)
        self.options = {"method": method}

    @property
    def method(self) -> str:
        """How time is stretched."""
        return self.options["method"]

    def draw_value(self, uniform: np.ndarray) -> np.ndarray:
        return between(self.min_rate, self.max_rate, uniform)

    def rate_of(self, draw: Draw) -> np.ndarray:
        return draw.values["rate"]

    def extra_repr(self) -> str:
        return f"{self.min_rate:g}..{self.max_rate:g}, {self.method}, p={self.p:g}"
