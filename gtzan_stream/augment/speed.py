"""SpeedPerturb: change tempo and pitch together, like a tape at another speed."""

from __future__ import annotations

import numpy as np

from gtzan_stream.augment.draw import Draw
from gtzan_stream.augment.ranges import between, check_range
from gtzan_stream.augment.warp import Warp
from gtzan_stream.dsp import resample


class SpeedPerturb(Warp):
    """Play each example faster or slower by band-limited resampling, so that tempo and pitch change together.

    Parameters
    ----------
    min_rate, max_rate : float > 0
        A rate above 1 is faster and higher. The duration ``1 / rate`` is uniform between ``1 / max_rate`` and
        ``1 / min_rate``. The study's "Pitch and Speed" is 1 to 1.25.
    p : float in 0..1
        The probability that an example is changed.

    References
    ----------
    .. [1] T. Ko, V. Peddinti, D. Povey, S. Khudanpur, "Audio augmentation for speech recognition", Interspeech 2015.

    Examples
    --------
    >>> import torch
    >>> tone = torch.sin(2 * torch.pi * 440 / 22050 * torch.arange(22050.0))
    >>> octave = SpeedPerturb(2.0, 2.0)(tone[None], ["blues_00000"])[0, :11025]
    >>> f"{torch.fft.rfft(octave).abs().argmax().item() * 2} Hz"
    '880 Hz'
    """

    parameter, choice = "rate", "factor"
    dsp_source, dsp_warp = staticmethod(resample.source), staticmethod(resample.resample)
    dsp_row = staticmethod(resample.resample_row)

    def __init__(self, min_rate: float = 1.0, max_rate: float = 1.25, *, p: float = 1.0) -> None:
        super().__init__(p=p)
        check_range("SpeedPerturb", "rate", min_rate, max_rate, "> 0", lambda rate: rate > 0)
        self.min_rate, self.max_rate = float(min_rate), float(max_rate)

    def draw_value(self, uniform: np.ndarray) -> np.ndarray:
        return 1 / between(1 / self.max_rate, 1 / self.min_rate, uniform)

    def rate_of(self, draw: Draw) -> np.ndarray:
        return draw.values["rate"]

    def extra_repr(self) -> str:
        return f"{self.min_rate:g}..{self.max_rate:g}, p={self.p:g}"
