"""Sound that soundfile cannot read, by PyAV, which brings its own FFmpeg: m4a, aac, wma, videos. An extra."""

import io
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from gtzan_stream.audio.formats import FFMPEG_FORMATS, known_to_ffmpeg
from gtzan_stream.audio.headers import missing
from gtzan_stream.audio.view import rewound

_STATES_EACH_TRACK = {"mov,mp4,m4a,3gp,3g2,mj2", "wv", "tta", "ape"}
_STATES_THE_WHOLE = {"matroska,webm", "asf"}  # of all tracks, the longest
_MOST_CHANNELS = 8  # PyAV reads beyond its memory where a frame has more
TOLERANCE_S = 0.1  # containers count the padding of lossy codecs in, or leave it out


class NeedsAv(ValueError):
    """A file that only PyAV can decode, which is not installed."""


class FfmpegReading:
    """The first sound track of a file, read from its beginning to its end.

    Attributes
    ----------
    sample_rate, channels : int
    format, encoding : str
        FFmpeg's names.
    frames : int
        0: how many samples there are shows when they are decoded.
    damage : str
        Why the sound is not all there, once it has been read; empty if it is.
    """

    frames = 0

    def __init__(self, file: io.IOBase, stack: ExitStack, reason: str) -> None:
        """Raises ValueError, with soundfile's `reason`, if PyAV is not installed or cannot read the file either."""
        try:
            import av
        except ImportError:
            needed = known_to_ffmpeg(rewound(file).read(12))
            if needed:
                raise NeedsAv(f"{needed} needs the extra av: pip install 'gtzan-stream[av]', or just av") from None
            raise ValueError(f"soundfile cannot decode it: {reason}") from None
        self._av: Any = av
        self.damage = missing(file)
        try:
            options = {"format_whitelist": ",".join(FFMPEG_FORMATS)}
            opened = av.open(rewound(file), options=options, metadata_errors="replace")
            self._container: Any = stack.enter_context(opened)
        except av.FFmpegError:
            raise ValueError(f"neither soundfile nor FFmpeg can decode it: {reason}") from None
        if not self._container.streams.audio:
            raise ValueError(f"it holds no sound: FFmpeg takes it for {self._container.format.long_name}")
        self._stream: Any = self._container.streams.audio[0]
        context = self._stream.codec_context
        if context is None:
            raise ValueError(f"neither soundfile nor FFmpeg knows its codec: {reason}")
        self.sample_rate, self.channels = context.sample_rate or 0, context.channels
        self.format, self.encoding = self._container.format.name, context.name

    def blocks(self, dtype: str) -> Iterator[np.ndarray]:
        """Blocks [time, channel] of `dtype` "float32" to the end of the file."""
        if dtype != "float32":
            raise ValueError(f"FFmpeg's samples are read as float32, not as {dtype}")
        context = self._stream.codec_context
        resampler = self._av.AudioResampler(format="fltp", layout=context.layout, rate=self.sample_rate)
        done = 0
        try:
            for frame in self._container.decode(self._stream):
                if frame.layout.nb_channels > _MOST_CHANNELS:
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
        """Seconds of sound that the header states; 0 if it does not: FFmpeg then guesses by the bit rate."""
        container, stream = self._container, self._stream
        if container.format.name in _STATES_EACH_TRACK and stream.duration is not None:
            return float(stream.duration * stream.time_base)
        if container.format.name in _STATES_THE_WHOLE and container.duration and len(container.streams) == 1:
            late = stream.start_time * stream.time_base if stream.start_time else 0
            return container.duration / self._av.time_base - float(late)
        return 0.0
