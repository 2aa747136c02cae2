"""Sound that soundfile cannot read, by PyAV, which brings its own FFmpeg: m4a, aac, wma, videos. An extra."""

import io
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from gtzan_stream.audio.formats import FFMPEG_FORMATS, known_to_ffmpeg
from gtzan_stream.audio.headers import missing
from gtzan_stream.audio.view import rewound

TOLERANCE_S = 0.1  # containers count the padding of lossy codecs in, or leave it out


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
            remedy = f"; {needed} needs the extra av: pip install 'gtzan-stream[av]'" if needed else ""
            raise ValueError(f"soundfile cannot decode it: {reason}{remedy}") from None
        self._av: Any = av
        self.damage = missing(file)
        try:
            options = {"format_whitelist": ",".join(FFMPEG_FORMATS)}
            self._container: Any = stack.enter_context(av.open(rewound(file), options=options))
        except av.FFmpegError:
            raise ValueError(f"neither soundfile nor FFmpeg can decode it: {reason}") from None
        if not self._container.streams.audio:
            raise ValueError(f"it holds no sound: FFmpeg takes it for {self._container.format.long_name}")
        self._stream: Any = self._container.streams.audio[0]
        context = self._stream.codec_context
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
                for part in resampler.resample(frame):
                    done += part.samples
                    yield part.to_ndarray().T
        except self._av.FFmpegError as error:
            if not done:
                raise ValueError(f"FFmpeg cannot decode it: {error.strerror}") from None
            self.damage = f"it breaks off after {done} samples: {error.strerror}"
        missing_s = self._duration_s() - done / self.sample_rate
        if missing_s > TOLERANCE_S and not self.damage:
            self.damage = f"it ends {missing_s:.1f} s before the end that its header says"

    def _duration_s(self) -> float:
        """Seconds that the header promises; 0 if it does not say."""
        if self._stream.duration is not None:
            return float(self._stream.duration * self._stream.time_base)
        return 0.0 if self._container.duration is None else self._container.duration / self._av.time_base
