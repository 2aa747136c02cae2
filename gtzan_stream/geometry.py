"""What a feature says of the audio it wants: the one description that crops, export and preview compute from."""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from gtzan_stream.checks import checked_int
from gtzan_stream.errors import UserError

MOST_SAMPLES = 2**28
"""Of a crop: three hours at 22,050 Hz, a gigabyte."""
Count = TypeVar("Count", int, np.ndarray)


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Size and place of a feature's frames.

    Frame t of a clip is centred on sample ``t * step`` and reads `frame_length` samples, from `context` samples before
    its centre on. A crop is `frames` frames side by side, so it reads `read_length` samples.

    Parameters
    ----------
    sample_rate : int
        Of the waveform, in Hz.
    frame_length : int
        Samples that one frame reads: ``n_fft`` of a spectrogram.
    step : int
        Samples from one frame to the next: ``hop_length`` of a spectrogram.
    context : int
        Samples before a frame's centre that the frame reads, at most `frame_length`.
    frames : int
        Frames of a crop.
    grid : int
        Samples; random crops start on multiples of it. With `step`, they start on the clip's own frames.
    silence : float
        The feature's value where there is no sound, which padding is filled with.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> Geometry.of_stft(sample_rate=22050, n_fft=1024, hop_length=512, frames=128).read_length
    66048
    """

    sample_rate: int
    frame_length: int
    step: int
    context: int
    frames: int
    grid: int
    silence: float = 0.0

    def __post_init__(self) -> None:
        for name in ("sample_rate", "frame_length", "step", "frames", "grid"):
            object.__setattr__(self, name, checked_int(name, getattr(self, name), 1))
        object.__setattr__(self, "context", checked_int("context", self.context))
        if self.context > self.frame_length:
            raise ValueError(f"context must be in 0..{self.frame_length}, the frame length, got {self.context}")
        if self.read_length > MOST_SAMPLES:
            raise UserError(
                f"a crop of {self.frames} frames would read {self.read_length:,} samples: choose fewer or shorter "
                f"frames, of {MOST_SAMPLES:,} samples at most"
            )
        if not math.isfinite(self.silence):
            raise ValueError(f"silence must be finite, got {self.silence}")

    @classmethod
    def of_stft(cls, *, sample_rate: int, n_fft: int, hop_length: int, frames: int, silence: float = 0.0) -> "Geometry":
        """Geometry of centred STFT frames, on whose hops crops start."""
        n_fft, hop_length = checked_int("n_fft", n_fft), checked_int("hop_length", hop_length, 1)
        if n_fft < 2 or n_fft % 2:
            raise ValueError(f"n_fft must be even and at least 2, got {n_fft}")
        return cls(
            sample_rate=sample_rate,
            frame_length=n_fft,
            step=hop_length,
            context=n_fft // 2,
            frames=frames,
            grid=hop_length,
            silence=silence,
        )

    @property
    def stride(self) -> int:
        """Samples from one chunk of a clip to the next."""
        return self.frames * self.step

    @property
    def read_length(self) -> int:
        """Samples that a crop reads."""
        return self.span(self.frames)

    def span(self, n_frames: Count) -> Count:
        """Samples that `n_frames` frames side by side read, 1 or more of them."""
        return (n_frames - 1) * self.step + self.frame_length

    def frames_in(self, n_samples: Count) -> Count:
        """Frames of a clip of `n_samples` samples, `context` samples continuing it at both ends."""
        return 1 + (n_samples + 2 * self.context - self.frame_length) // self.step
