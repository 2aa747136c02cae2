"""Sound by soundfile, read to its real end: libsndfile trusts headers, guesses lengths and decodes the first of several
streams, so that files are patched, or cut into their streams, before it sees them."""

import io
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import soundfile

from gtzan_stream.audio import mp3, ogg
from gtzan_stream.audio.headers import missing, promised_in_vain
from gtzan_stream.audio.view import Memory, View, rewound
from gtzan_stream.audio.wav import wav_data

BLOCK = 1 << 14  # frames
_MP3_IN_WAV = "tag85-"
_UNKNOWN_FRAMES = 1 << 40


class Forward(soundfile.SoundFile):
    """A file read from its beginning to its end.

    soundfile seeks after every read of a file that can be sought, to where it already is; lossy decoders lose their
    state by that, and every block would begin wrong.
    """

    def seekable(self) -> bool:
        return False


class SoundfileReading:
    """A file, or one of its streams, read from its beginning to its end.

    Attributes
    ----------
    sound : SoundFile
    sample_rate, channels : int
    format, encoding : str
        libsndfile's names.
    frames : int
        What the header says; 0 where it leaves that open.
    damage : str
        Why a part of the sound is missing, once it has been read; empty if none is.
    """

    def __init__(self, file: io.IOBase, stack: ExitStack, damage: str, *, stated: bool) -> None:
        """`stated` says whether the library's number of frames is the header's, and not a guess."""
        self.sound = stack.enter_context(Forward(file))
        self.sample_rate, self.channels = self.sound.samplerate, self.sound.channels
        self.format, self.encoding = self.sound.format, self.sound.subtype
        self.frames = self.sound.frames if self.sound.frames < _UNKNOWN_FRAMES else 0
        self.damage, self._stated = damage, stated

    def blocks(self, dtype: str) -> Iterator[np.ndarray]:
        """Blocks [time, channel] up to the file's end, each in memory of its own."""
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


def readings(file: io.IOBase, stack: ExitStack, *, header_only: bool = False) -> list[SoundfileReading]:
    """Open a file, or each of the streams that are joined in it; as its header describes it if that is all one needs.

    Raises
    ------
    soundfile.LibsndfileError
        If libsndfile cannot open it.
    """
    if header_only:
        return [SoundfileReading(View(file, 0, file.seek(0, io.SEEK_END)), stack, "", stated=True)]
    return [SoundfileReading(part, stack, damage, stated=stated) for part, damage, stated in _parts(file)]


def _parts(file: io.IOBase) -> Iterator[tuple[io.IOBase, str, bool]]:
    """The streams of a file: each a file of its own, what is wrong with it, and whether its stated length counts."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if links := ogg.links(file) if head[:4] == b"OggS" else []:
        yield from ((View(file, link.start, link.end), link.damage, True) for link in links)
    elif wav := wav_data(file):
        damage = promised_in_vain(wav.promised - wav.size)
        # libsndfile guesses the length of MP3 in WAV, as it does of a bare one
        stated = not wav.encoding.startswith(_MP3_IN_WAV)
        whole = View(file, 0, size)
        yield View(file, wav.offset, size, wav.header()) if wav.unfinished else whole, damage, stated
    elif head[:4] == b".snd" and head[8:12] == bytes(4):  # size 0: left open, as 0xFFFFFFFF is
        yield View(file, 12, size, head[:8] + b"\xff\xff\xff\xff"), "", True
    elif mp3.begins(rewound(file).read(mp3.LONGEST_LEAD)):
        yield from _mpeg_parts(file, size)
    else:
        yield View(file, 0, size), missing(file), True


def _mpeg_parts(file: io.IOBase, size: int) -> Iterator[tuple[io.IOBase, str, bool]]:
    data = rewound(file).read()
    links = mp3.links(data)
    if not links:
        yield View(file, 0, size), "", False
    elif len(links) == 1 and links[0].is_right:
        yield Memory(data[links[0].start :]), links[0].damage, bool(links[0].tag)
    else:
        for link in links:
            yield Memory(link.file(data)), link.damage, link.tag_is_right
