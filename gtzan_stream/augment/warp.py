"""Warp: base class of time stretch, pitch shift and speed perturbation, which read their input at another rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw, Examples, Source


class Warp(Transform):
    """A transform with one parameter, computed by two functions of `gtzan_stream.dsp`.

    A subclass names the parameter, draws it in `draw_value`, and sets three functions: `dsp_source` returns the input
    that an output needs, `dsp_warp` computes the output of a batch, and `dsp_row` that of one row on the CPU. `options`
    are passed to all three.
    """

    parameter: str
    """Name of the parameter in a `Draw`."""
    choice: str
    """Name of its random choice. Do not rename it: that would change every draw."""
    dsp_source: ClassVar[Callable[..., tuple[np.ndarray, np.ndarray]]]
    """(length, values) -> input samples needed before the input time of output sample 0, and in total, int64 [batch]"""
    dsp_warp: ClassVar[Callable[..., Tensor]]
    """(waveform, values, length, offset=) -> output [batch, length]; its sample 0 is at input time `offset`."""
    dsp_row: ClassVar[Callable[..., None]]
    """(samples, value, offset, out): fill `out` as `dsp_warp` does for one row."""
    options: Mapping[str, Any] = MappingProxyType({})

    def draw_value(self, uniform: np.ndarray) -> np.ndarray:
        """Map uniform numbers in [0, 1) to values of the parameter, float64 [batch]."""
        raise NotImplementedError

    def parameters_of(self, examples: Examples, path: str) -> dict[str, np.ndarray]:
        return {self.parameter: self.draw_value(examples.uniform(f"{path}.{self.choice}"))}

    def source_of(self, length: np.ndarray, draw: Draw) -> Source:
        return Source(*self.dsp_source(length, draw.values[self.parameter], **self.options))

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        value = draw.values[self.parameter]
        if length is None:
            return self.dsp_warp(waveform, value, waveform.shape[1], offset=None, **self.options)
        before, _ = self.dsp_source(np.full(len(value), length), value, **self.options)
        return self.dsp_warp(waveform, value, length, offset=before.astype(float), **self.options)

    def compute_row(self, samples: np.ndarray, draw: Draw, row: int, before: int | None, out: np.ndarray) -> None:
        value = float(draw.values[self.parameter][row])
        if not math.isfinite(value) or (self.parameter == "rate" and value <= 0):
            raise ValueError(f"{self.parameter}: every value must be finite, and a rate above zero, got {value}")
        self.dsp_row(samples, value, float(before or 0), out, **self.options)
