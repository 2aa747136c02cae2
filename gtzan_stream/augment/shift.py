"""TimeShift: move the music later or earlier."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw, Examples, Source
from gtzan_stream.augment.ranges import between, check_range
from gtzan_stream.checks import MAX_INT
from gtzan_stream.dsp.rows import roll


class TimeShift(Transform):
    """Shift each example in time.

    In a loader, the segment is read from that much earlier in the clip, so nothing is padded. A plain batch has no
    surrounding clip: there the shift is circular, as in the study.

    Parameters
    ----------
    min_shift, max_shift : int
        The shift in samples is a whole number within +/-2,147,483,647, uniform between them, both included. Positive is
        later. The study's "Shift" is 1,600.
    p : float in 0..1
        The probability that an example is changed.

    Examples
    --------
    >>> import torch
    >>> TimeShift(1, 1)(torch.tensor([[1.0, 2.0, 3.0]]), ["blues_00000"])
    tensor([[3., 1., 2.]])
    """

    def __init__(self, min_shift: int = 1600, max_shift: int = 1600, *, p: float = 1.0) -> None:
        super().__init__(p=p)
        rule = f"whole numbers within +/-{MAX_INT}"
        check_range("TimeShift", "shift", min_shift, max_shift, rule, lambda n: n == int(n) and abs(n) <= MAX_INT)
        self.min_shift, self.max_shift = int(min_shift), int(max_shift)

    def parameters_of(self, examples: Examples, path: str) -> dict[str, np.ndarray]:
        drawn = between(self.min_shift, self.max_shift + 1, examples.uniform(f"{path}.shift"))
        return {"shift": np.minimum(np.floor(drawn), self.max_shift)}  # rounding may reach max_shift + 1

    def source_of(self, length: np.ndarray, draw: Draw) -> Source:
        return Source(draw.values["shift"].astype(np.int64), length)

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        if length is not None:
            return waveform[:, :length]
        return roll(waveform, draw.values["shift"].astype(np.int64))

    def compute_row(self, samples: np.ndarray, draw: Draw, row: int, before: int | None, out: np.ndarray) -> None:
        if before is not None:
            out[:] = samples[: len(out)]
            return
        start = int(draw.values["shift"][row]) % len(out)
        out[:start], out[start:] = samples[len(out) - start :], samples[: len(out) - start]

    def extra_repr(self) -> str:
        return f"{self.min_shift}..{self.max_shift} samples, p={self.p:g}"
