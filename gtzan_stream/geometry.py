"""Geometry: the sample rate, frame length and hop of a feature, and the number of frames in a crop.

All code that converts between samples and frames (crops, export, preview) uses it. A clip is extended by `context`
samples at both ends, as in a centred STFT, so that frame 0 is centred on sample 0::

    frames_in(T) = 1 + (T + 2 * context - frame_length) // step     frames of a clip of T samples
    span(n)      = (n - 1) * step + frame_length                    samples that n adjacent frames read
    read_length  = span(frames)                                     samples that a crop reads
    stride       = frames * step                                    samples from one chunk to the next

With n_fft 1024 and hop 512, 30 s at 22,050 Hz (661,500 samples) are ``1 + 661500 // 512 = 1292`` frames. A crop of 128
frames reads ``127 * 512 + 1024 = 66048`` samples, though the next chunk starts 65,536 samples later: the windows of
adjacent frames overlap.
"""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from gtzan_stream.checks import checked_int
from gtzan_stream.errors import UserError

MAX_CROP_SAMPLES = 2**28
"""Three hours at 22,050 Hz, a gigabyte in float32."""
Count = TypeVar("Count", int, np.ndarray)


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Which samples each frame of a feature reads, and how many frames a crop has.

    Frame t of a clip is centred on sample ``t * step`` and reads `frame_length` samples, starting `context` samples
    before its centre. A crop is `frames` adjacent frames, so it reads `read_length` samples.

    Parameters
    ----------
    sample_rate : int
        Sample rate of the waveform in Hz.
    frame_length : int
        Samples that one frame reads; ``n_fft`` of a spectrogram.
    step : int
        Samples from one frame to the next; ``hop_length`` of a spectrogram.
    context : int
        Samples that a frame reads before its centre, at most `frame_length`; ``n_fft // 2`` of a centred spectrogram.
    frames : int
        Frames in a crop.
    grid : int
        Random crops start on multiples of this many samples. If it equals `step`, their frames are frames of the clip.
    silence : float
        Value of the feature where there is no sound. Frames that are centred after the clip's end are filled with it.
        (Samples beyond a clip's ends are its reflection; see `store.read`.)

    Raises
    ------
    ValueError
        If a number is out of range.

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
            raise ValueError(f"context must be in 0..{self.frame_length} (the frame length), got {self.context}")
        if self.read_length > MAX_CROP_SAMPLES:
            raise UserError(
                f"a crop of {self.frames} frames would read {self.read_length:,} samples: choose fewer or shorter "
                f"frames, with {MAX_CROP_SAMPLES:,} samples at most"
            )
        if not math.isfinite(self.silence):
            raise ValueError(f"silence must be finite, got {self.silence}")

    @classmethod
    def of_stft(cls, *, sample_rate: int, n_fft: int, hop_length: int, frames: int, silence: float = 0.0) -> "Geometry":
        """Return the geometry of a centred STFT. Random crops start on multiples of the hop."""
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
        """Samples that a crop reads: `span` of its frames."""
        return self.span(self.frames)

    def span(self, n_frames: Count) -> Count:
        """Return the number of samples that `n_frames` adjacent frames read; `n_frames` must be at least 1."""
        return (n_frames - 1) * self.step + self.frame_length

    def frames_in(self, n_samples: Count) -> Count:
        """Return the number of frames in a clip of `n_samples` samples, padded by `context` samples at both ends."""
        return 1 + (n_samples + 2 * self.context - self.frame_length) // self.step
