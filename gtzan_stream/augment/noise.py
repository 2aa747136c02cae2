"""GaussianNoise: add white noise."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw, Examples
from gtzan_stream.augment.ranges import between, check_range
from gtzan_stream.dsp import random


class GaussianNoise(Transform):
    """Add white Gaussian noise, generated on the waveform's device by a counter-based generator.

    Parameters
    ----------
    min_std, max_std : float >= 0
        The standard deviation of the noise (full scale is 1) is uniform between them. The study's "Add Noise" is
        0.005, or -46 dB.
    p : float in 0..1
        The probability that an example is changed.

    Examples
    --------
    >>> import torch
    >>> noise = GaussianNoise(0.1, 0.1)(torch.zeros(1, 22050), ["blues_00000"])
    >>> round(float(noise.std()), 2)
    0.1
    """

    def __init__(self, min_std: float = 0.005, max_std: float = 0.005, *, p: float = 1.0) -> None:
        super().__init__(p=p)
        check_range("GaussianNoise", "std", min_std, max_std, ">= 0", lambda std: std >= 0)
        self.min_std, self.max_std = float(min_std), float(max_std)

    def parameters_of(self, examples: Examples, path: str) -> dict[str, np.ndarray]:
        return {"std": between(self.min_std, self.max_std, examples.uniform(f"{path}.std"))}

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        waveform = waveform[:, :length]
        noise = random.normal(
            draw.rng,
            draw.key_hash,
            draw.crops,
            waveform.shape[1],
            std=draw.values["std"],
            device=waveform.device,
            dtype=waveform.dtype,
        )
        return noise.add_(waveform)

    def compute_row(self, samples: np.ndarray, draw: Draw, row: int, before: int | None, out: np.ndarray) -> None:
        std = float(draw.values["std"][row])
        if not math.isfinite(std):
            raise ValueError(f"std: every value must be finite, got {std}")
        random.normal_row(draw.rng, draw.key_hash[row], draw.crops[row], std, out)
        with np.errstate(over="ignore", invalid="ignore"):
            out += samples[: len(out)]

    def extra_repr(self) -> str:
        return f"{self.min_std:g}..{self.max_std:g} of full scale, p={self.p:g}"
