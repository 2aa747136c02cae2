"""Spec: a network's entry in the registry, with its input and its training defaults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn


@dataclass(frozen=True, kw_only=True)
class Spec:
    """How to build a network, what to feed it, and its training defaults where the study's are not the best.

    Parameters
    ----------
    build : callable
        Takes the number of classes and returns the network.
    features : str
        Name of the features it takes: "logmel" (log-mel spectrograms), "waveform" (samples), or any other name in
        `gtzan_stream.features.REGISTRY`.
    rows, frames : int
        Size of one example. By default 128 mel bands x 128 frames, about 3 s. For a waveform, 1 x its samples.
    batch_size : int
        Examples in a training step. The study's are 16, and 64 for `cnn1d`.
    lr : mapping from str to float
        Learning rate by optimizer, where the usual one (the demo set's or the optimizer's) is not the best:
        ``{"adamw": 2e-4}``.
    normalization : str
        Normalisation of the features: one of `gtzan_stream.normalization.NORMALIZATIONS`.
    """

    build: Callable[[int], nn.Module]
    features: str = "logmel"
    rows: int = 128
    frames: int = 128
    batch_size: int = 16
    lr: Mapping[str, float] = field(default_factory=dict)
    normalization: str = "global"

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one example: ``(rows, frames)``."""
        return self.rows, self.frames
