"""What a network says of itself: what it is fed, and how it is trained where the study's settings are not the best."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import nn


@dataclass(frozen=True, kw_only=True)
class Input:
    """One example, as the network wants it.

    Parameters
    ----------
    kind : {"logmel", "waveform"}
        A log-mel spectrogram of 128 bands at 22,050 Hz and a hop of 512 samples, or the samples themselves.
    size : int
        Frames of the spectrogram, or samples of the waveform.
    """

    kind: Literal["logmel", "waveform"]
    size: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example: ``(128, frames)``, or ``(1, samples)``."""
        return (128 if self.kind == "logmel" else 1, self.size)


CHUNK = Input(kind="logmel", size=128)
"""A chunk of 128 frames, about 3 s."""

WHOLE = Input(kind="logmel", size=1024)
"""1,024 frames, 23.8 s: most of a GTZAN clip."""

SAMPLES = Input(kind="waveform", size=66_150)
"""3 s of samples."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A line of the registry.

    Parameters
    ----------
    build : callable
        From the number of classes to the network.
    input : Input
        What the network is fed.
    batch_size : int
        Examples a training step; the study's 16, and 64 for its network over all 1,024 frames.
    lr : mapping from str to float
        Learning rates by optimizer, where another than usual is better: ``{"sgd": 0.1}``.
    normalization : str
        Of the features: a kind of `gtzan_stream.normalization`.
    """

    build: Callable[[int], nn.Module]
    input: Input = CHUNK
    batch_size: int = 16
    lr: Mapping[str, float] = field(default_factory=dict)
    normalization: str = "global"
