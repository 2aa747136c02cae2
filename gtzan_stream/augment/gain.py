"""Gain: multiply by a constant."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw, Examples
from gtzan_stream.augment.ranges import between, check_range
from gtzan_stream.dsp.parameters import to_device


class Gain(Transform):
    """Multiply each example by a random gain. The result is not clipped.

    Parameters
    ----------
    min_gain, max_gain : float > 0
        The linear gain is uniform between them. The study's "Multiply Value" is 1.5 to 3.
    logarithmic : bool
        Draw uniformly in decibels instead. Both gains must then be within 1e-10 and 1e10.
    p : float in 0..1
        The probability that an example is changed.

    Examples
    --------
    >>> import torch
    >>> Gain(2.0, 2.0)(torch.full((1, 4), 0.25), ["blues_00000"])
    tensor([[0.5000, 0.5000, 0.5000, 0.5000]])
    >>> Gain.in_db(-20, -20)(torch.ones(1, 2), ["blues_00000"])
    tensor([[0.1000, 0.1000]])
    """

    def __init__(
        self, min_gain: float = 1.5, max_gain: float = 3.0, *, logarithmic: bool = False, p: float = 1.0
    ) -> None:
        super().__init__(p=p)
        check_range("Gain", "gain", min_gain, max_gain, "> 0", lambda gain: gain > 0)
        if logarithmic:
            check_range("Gain", "gain", min_gain, max_gain, "within 1e-10 and 1e10", lambda gain: 1e-10 <= gain <= 1e10)
        self.min_gain, self.max_gain = float(min_gain), float(max_gain)
        self.logarithmic = logarithmic

    @classmethod
    def in_db(cls, min_gain_db: float, max_gain_db: float, *, p: float = 1.0) -> Gain:
        """Build a `Gain` that is uniform in decibels between two levels."""
        check_range("Gain", "gain_db", min_gain_db, max_gain_db, "within +/-200 dB", lambda db: abs(db) <= 200)
        return cls(10 ** (min_gain_db / 20), 10 ** (max_gain_db / 20), logarithmic=True, p=p)

    def parameters_of(self, examples: Examples, path: str) -> dict[str, np.ndarray]:
        uniform = examples.uniform(f"{path}.gain")
        if self.logarithmic:
            return {"gain": self.min_gain * (self.max_gain / self.min_gain) ** uniform}
        return {"gain": between(self.min_gain, self.max_gain, uniform)}

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        gain = to_device(draw.values["gain"], waveform.device).to(waveform.dtype)
        return waveform[:, :length] * gain[:, None]

    def compute_row(self, samples: np.ndarray, draw: Draw, row: int, before: int | None, out: np.ndarray) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            np.multiply(samples[: len(out)], np.float32(draw.values["gain"][row]), out=out)

    def extra_repr(self) -> str:
        law = ", uniform in dB" if self.logarithmic else ""
        return f"{self.min_gain:g}..{self.max_gain:g}{law}, p={self.p:g}"
