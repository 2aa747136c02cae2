"""Decode files with soundfile to their real end.

libsndfile trusts headers, guesses lengths, and decodes only the first of several joined streams. So headers that state
no length are corrected, and joined streams are given to it one by one; the file itself is not changed.

A stream is what one encoder wrote, from its first to its last page or frame. A joined Ogg or MP3 file has several
streams; every other file is one.
"""

import io
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import soundfile

from gtzan_stream.audio import mp3, ogg
from gtzan_stream.audio.headers import describe_missing, missing_bytes
from gtzan_stream.audio.view import Memory, View, rewound
from gtzan_stream.audio.wav import wav_data

BLOCK = 1 << 14  # frames
_MP3_IN_WAV = "tag85-"
_UNKNOWN_FRAMES = 1 << 40


class NoSeekAfterRead(soundfile.SoundFile):
    """A sound file that claims not to be seekable, so that soundfile does not seek after each read.

    After every read of a seekable file, soundfile seeks to the position where it already is. This makes lossy
    decoders lose their state, and every block would begin with wrong samples. `seek` itself still works.
    """

    def seekable(self) -> bool:
        return False


class SoundfileDecoder:
    """Decodes a file, or one of its joined streams, from beginning to end.

    Attributes
    ----------
    sound : SoundFile
    sample_rate, channels : int
    format, encoding : str
        libsndfile's names.
    frames : int
        Number of frames by the header; 0 if it does not say.
    damage : str
        Why part of the sound is missing, once it has been decoded; empty if it is whole.
    """

    def __init__(self, file: io.IOBase, stack: ExitStack, damage: str, *, stated: bool) -> None:
        """Open a file. `stated`: whether libsndfile reads the number of frames from a header instead of guessing."""
        self.sound = stack.enter_context(NoSeekAfterRead(file))
        self.sample_rate, self.channels = self.sound.samplerate, self.sound.channels
        self.format, self.encoding = self.sound.format, self.sound.subtype
        self.frames = self.sound.frames if self.sound.frames < _UNKNOWN_FRAMES else 0
        self.damage, self._stated = damage, stated

    def blocks(self, dtype: str) -> Iterator[np.ndarray]:
        """Yield blocks [time, channel] to the end of the file."""
        done = 0
        try:
            while len(block := self.sound.read(BLOCK, dtype=dtype, always_2d=True)):
                done += len(block)
                yield block
        except soundfile.LibsndfileError:
            if not done:
                raise
            self.damage = f"it breaks off after {done} of {self.frames} samples"
        if self._stated and done < self.frames:
            self.damage = self.damage or f"{done} of {self.frames} samples can be decoded"


def open_decoders(file: io.IOBase, stack: ExitStack, *, header_only: bool = False) -> list[SoundfileDecoder]:
    """Open a decoder for each stream of a file. With `header_only`, open the file as its header describes it.

    Raises
    ------
    soundfile.LibsndfileError
        If libsndfile cannot open it.
    """
    if header_only:
        return [SoundfileDecoder(View(file, 0, file.seek(0, io.SEEK_END)), stack, "", stated=True)]
    return [SoundfileDecoder(stream, stack, damage, stated=stated) for stream, damage, stated in _streams(file)]


def _streams(file: io.IOBase) -> Iterator[tuple[io.IOBase, str, bool]]:
    """Yield each stream of a file: a file object, what is wrong with it, and whether its length is stated."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    ogg_streams = ogg.streams(file) if head[:4] == b"OggS" else []
    if ogg_streams:
        yield from ((View(file, stream.start, stream.end), stream.damage, True) for stream in ogg_streams)
    elif wav := wav_data(file):
        view = View(file, wav.offset, size, wav.header()) if wav.unfinished else View(file, 0, size)
        is_length_stated = not wav.encoding.startswith(_MP3_IN_WAV)  # libsndfile guesses that of MP3 inside WAV, too
        yield view, describe_missing(wav.stated - wav.size), is_length_stated
    elif head[:4] == b".snd" and head[8:12] == bytes(4):
        # Size 0 means that the header states no length; for libsndfile, only 0xFFFFFFFF means that.
        yield View(file, 12, size, head[:8] + b"\xff\xff\xff\xff"), "", True
    elif mp3.begins(rewound(file).read(mp3.LONGEST_LEAD)):
        yield from _mpeg_streams(file, size)
    else:
        yield View(file, 0, size), missing_bytes(file), True


def _mpeg_streams(file: io.IOBase, size: int) -> Iterator[tuple[io.IOBase, str, bool]]:
    """Yield each stream of an MPEG audio file, as `_streams` does."""
    data = rewound(file).read()
    streams = mp3.streams(data)
    if not streams:
        yield View(file, 0, size), "", False
    elif len(streams) == 1 and streams[0].is_readable:
        # What follows the last frame is no sound, and mpg123 may give up there.
        (stream,) = streams
        yield Memory(data[stream.start : stream.runs[-1][1]]), stream.damage, bool(stream.tag)
    else:
        for stream in streams:
            yield Memory(stream.file(data)), stream.damage, stream.tag_covers_all
