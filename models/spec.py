"""What a network says of itself: what it is fed, and how it is trained where the study's settings are not the best."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn


@dataclass(frozen=True, kw_only=True)
class Spec:
    """An entry of the registry.

    Parameters
    ----------
    build : callable
        From the number of classes to the network.
    features : str
        Name of the features that the network is fed: "logmel" (log-mel spectrograms), "waveform" (samples), or another
        of the loader's features.
    rows, frames : int
        Size of one example: 128 mel bands x 128 frames, about 3 s, by default; 1 x samples of a waveform.
    batch_size : int
        Examples a training step; the study's 16, and 64 for its network over all 1,024 frames.
    lr : mapping from str to float
        Learning rates by optimizer, where another than usual is better: ``{"sgd": 0.1}``.
    normalization : str
        Of the features: a kind of `gtzan_stream.normalization`.
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
