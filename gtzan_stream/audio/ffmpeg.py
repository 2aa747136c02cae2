"""Decode files that soundfile cannot read (m4a, aac, wma, videos) with PyAV, an extra that contains FFmpeg."""

import io
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from gtzan_stream.audio.formats import FFMPEG_FORMATS, known_to_ffmpeg
from gtzan_stream.audio.headers import missing_bytes
from gtzan_stream.audio.view import rewound

# Containers that state the duration of each track, and those that state only that of the longest track. Others state
# none, and FFmpeg guesses it from the bit rate.
_TRACK_DURATION = {"mov,mp4,m4a,3gp,3g2,mj2", "wv", "tta", "ape"}
_FILE_DURATION = {"matroska,webm", "asf"}
_MAX_CHANNELS = 8  # with more, PyAV reads beyond the memory of a frame
TOLERANCE_S = 0.1  # some containers count the padding of lossy codecs as sound, some do not


class NeedsAv(ValueError):
    """Raised for a file that only PyAV can decode, when PyAV is not installed."""


class FfmpegDecoder:
    """Decodes the first sound track of a file from beginning to end.

    Attributes
    ----------
    sample_rate, channels : int
    format, encoding : str
        FFmpeg's names.
    frames : int
        Always 0: the number of samples is only known after decoding.
    damage : str
        Why part of the sound is missing, once it has been decoded; empty if it is whole.
    """

    frames = 0

    def __init__(self, file: io.IOBase, stack: ExitStack, reason: str) -> None:
        """Open a file that soundfile refused for `reason`. Raises ValueError if PyAV refuses it too, or is missing."""
        try:
            import av
        except ImportError:
            needed = known_to_ffmpeg(rewound(file).read(12))
            if needed:
                raise NeedsAv(f"{needed} needs the extra av: pip install 'gtzan-stream[av]', or just av") from None
            raise ValueError(f"soundfile cannot decode it: {reason}") from None
        self._av: Any = av
        self.damage = missing_bytes(file)
        try:
            options = {"format_whitelist": ",".join(FFMPEG_FORMATS)}
            opened = av.open(rewound(file), options=options, metadata_errors="replace")
            self._container: Any = stack.enter_context(opened)
        except av.FFmpegError:
            raise ValueError(f"neither soundfile nor FFmpeg can decode it: {reason}") from None
        if not self._container.streams.audio:
            raise ValueError(f"it has no sound: FFmpeg reads it as {self._container.format.long_name}")
        self._stream: Any = self._container.streams.audio[0]
        context = self._stream.codec_context
        if context is None:
            raise ValueError(f"neither soundfile nor FFmpeg knows its codec: {reason}")
        self.sample_rate, self.channels = context.sample_rate or 0, context.channels
        self.format, self.encoding = self._container.format.name, context.name

    def blocks(self, dtype: str) -> Iterator[np.ndarray]:
        """Yield blocks [time, channel] of `dtype` "float32" to the end of the file."""
        if dtype != "float32":
            raise ValueError(f"FFmpeg's samples are read as float32, not as {dtype}")
        context = self._stream.codec_context
        resampler = self._av.AudioResampler(format="fltp", layout=context.layout, rate=self.sample_rate)
        done = 0
        try:
            for frame in self._container.decode(self._stream):
                if frame.layout.nb_channels > _MAX_CHANNELS:
                    raise ValueError(f"FFmpeg finds {frame.layout.nb_channels} channels after {done} samples")
                for part in resampler.resample(frame):
                    done += part.samples
                    yield part.to_ndarray().T
        except self._av.FFmpegError as error:
            if not done:
                raise ValueError(f"FFmpeg cannot decode it: {error.strerror}") from None
            self.damage = f"it breaks off after {done} samples: {error.strerror}"
        missing_s = self._stated_s() - done / self.sample_rate
        if missing_s > TOLERANCE_S and not self.damage:
            self.damage = f"it ends {missing_s:.1f} s before the length that its header states"

    def _stated_s(self) -> float:
        """Return the duration that the header states, in seconds; 0 if it states none."""
        container, stream = self._container, self._stream
        if container.format.name in _TRACK_DURATION and stream.duration is not None:
            return float(stream.duration * stream.time_base)
        if container.format.name in _FILE_DURATION and container.duration and len(container.streams) == 1:
            start_s = float(stream.start_time * stream.time_base) if stream.start_time else 0.0
            return container.duration / self._av.time_base - start_s
        return 0.0
