"""Count the frames of MP3 files, and split joined ones.

libsndfile takes the length of an MP3 file from the Xing tag in its first frame (or its variants Info and VBRI), or
guesses it from the bit rate of that frame. Encoders that write to a pipe leave the tag out, and then most of a file
with variable bit rate can be lost. A file of several joined ones has a Xing tag for each of these streams, of which
libsndfile reads only the first. Here such files are split into their streams, and each stream gets a new Xing tag with
its real number of frames. ID3 and APE tags, with names of artists and songs, are skipped as metadata.
"""

import re
import struct
from dataclasses import dataclass, field
from functools import lru_cache

from gtzan_stream.words import count

LONGEST_LEAD = 1 << 16
"""Number of bytes in which `begins` looks for an ID3 tag, or for zeros and then a frame."""
_ZEROS = re.compile(rb"\0*")
_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KBPS_MPEG1_II = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_KBPS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version: MPEG-1, 2, 2.5
_TAG_KBPS_INDEX = 9  # 128 or 80 kbit/s: such a frame has room for a Xing tag at any sample rate
_DECODER_DELAY = 529  # samples
_XING_NAME_END = 4 + 2 + 32 + 4  # bytes: header, checksum, the longest side information, and the name of the tag


@dataclass(frozen=True)
class Frame:
    """A frame's header: its `length` in bytes, its `samples`, and the `kind` that all frames of a stream share."""

    length: int
    samples: int
    kind: tuple[int, int, int, bool]  # version, layer, Hz, mono


@dataclass
class Stream:
    """One of the MPEG streams that are joined in a file. Most files have one.

    Attributes
    ----------
    first : Frame
    start : int
        Byte at which the first frame begins, or the frame with the Xing tag.
    header : bytes
        The first four bytes of the first frame.
    tag : bytes
        The frame with the Xing tag; empty without one.
    stated : int
        Number of frames that the Xing tag states; 0 if it states none.
    n_frames : int
        Real number of frames with sound, counting the last one even if it is cut.
    runs : list of (int, int)
        Byte ranges of consecutive frames in the file: first byte, and the one after the last.
    missing : int
        Bytes missing from the last frame.
    stray : int
        Bytes between frames that are neither frames nor metadata.
    """

    first: Frame
    start: int
    header: bytes
    tag: bytes
    stated: int
    n_frames: int = 0
    runs: list[tuple[int, int]] = field(default_factory=list)
    missing: int = 0
    stray: int = 0

    @property
    def tag_covers_all(self) -> bool:
        """Whether the Xing tag states all whole frames; `n_frames` also counts a last frame that is cut."""
        return self.stated >= max(self.n_frames - bool(self.missing), 1)

    @property
    def is_readable(self) -> bool:
        """Whether libsndfile reads all of the stream from `start` on. Layer II has no Xing tags and needs none."""
        return not self.stray and (self.tag_covers_all or self.first.kind[1] == 2)

    @property
    def damage(self) -> str:
        """What is wrong with the stream; empty if nothing is."""
        if self.stated > self.n_frames + 1:  # some encoders also count the frame with the Xing tag
            return f"{self.n_frames} of {self.stated} MPEG frames are there"
        if self.missing:
            return f"its last MPEG frame lacks {count(self.missing, 'byte')}"
        return f"{self.stray} bytes between its frames are not MPEG audio" if self.stray else ""

    def file(self, data: bytes) -> bytes:
        """Return the stream as a separate file, with a Xing tag that covers all frames unless it is layer II."""
        tag = self.tag
        if not self.tag_covers_all:
            tag = b"" if self.first.kind[1] == 2 else self._new_tag()
        return tag + b"".join(data[a:b] for a, b in self.runs)

    def add(self, start: int, end: int) -> None:
        """Add the frame with sound at bytes `start` to `end`."""
        self.n_frames += 1
        if self.runs and self.runs[-1][1] == start:
            start = self.runs.pop()[0]
        self.runs.append((start, end))

    def _new_tag(self) -> bytes:
        """Build a frame with a Xing tag that states the number of frames, followed by a frame of silence.

        If there is a Xing tag, mpg123 skips the decoder's delay and as many more samples as the tag says. The tag is
        written so that exactly the frame of silence is skipped, and all samples of the file's own frames are kept.
        """
        skipped = self.first.samples - _DECODER_DELAY
        version = self.header[1] >> 3 & 3
        header = bytes([0xFF, 0xE3 | version << 3, _TAG_KBPS_INDEX << 4 | self.header[2] & 0x0C, self.header[3]])
        frame = _frame(header)
        assert frame is not None
        silence = header + bytes(frame.length - len(header))
        words = b"Info" + struct.pack(">II", 1, self.n_frames + 1) + b"LAME".ljust(21, b"\0")
        content = header + bytes(_side_information(frame)) + words + (skipped << 12).to_bytes(3)
        return content + silence[len(content) :] + silence


def begins(head: bytes) -> bool:
    """Return whether a file with these first bytes may be MPEG audio: an ID3 tag, or zeros and then a frame."""
    return head[:3] == b"ID3" or _frame_at(head, _ZEROS.match(head).end()) is not None  # type: ignore[union-attr]


def streams(data: bytes) -> list[Stream]:
    """Find the streams of layer II or III that are joined in a file; returns an empty list for other files.

    A stream begins at a frame that is followed by another of its kind; that rules out most chance matches of the frame
    header's eleven bits. A Xing tag begins a new stream.
    """
    found: list[Stream] = []
    position = _after_metadata(data, 0)
    while position < len(data):
        frame = _frame_at(data, position)
        same = frame is not None and bool(found) and frame.kind == found[-1].first.kind
        if frame is not None and (same or _follows(data, position + frame.length, frame)):
            end = position + frame.length
            stated = _stated_frames(data[position : position + 64]) if frame.kind[1] == 3 else None
            if stated is not None or not same:
                tag = data[position:end] if stated else b""
                found.append(Stream(frame, position, data[position : position + 4], tag, stated or 0))
            if stated is None:
                found[-1].add(position, end)
            found[-1].missing = max(0, end - len(data))
            position = end
        elif (after := _after_metadata(data, position)) > position:
            position = after
        elif not found or (following := _next(data, position + 1, found[-1].first)) is None:
            break  # not MPEG audio, or nothing but other data until the end
        else:
            found[-1].stray += following - position
            position = following
    return [stream for stream in found if stream.n_frames]


def _after_metadata(data: bytes, position: int) -> int:
    """Return the byte after the ID3 and APE tags and the zeros at `position`."""
    while True:
        head = data[position : position + 32]
        if head[:3] == b"ID3" and len(head) >= 10:
            size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]  # seven bits per byte
            position += 10 + size + (10 if head[5] & 0x10 else 0)
        elif head[:3] == b"TAG":
            position += 128
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            size, is_header = struct.unpack("<I", head[12:16])[0], head[23] & 0x20
            position += 32 + (size if is_header else 0)
        elif head[:1] == b"\0":
            position = _ZEROS.match(data, position).end()  # type: ignore[union-attr]
        else:
            return position


def _frame_at(data: bytes, position: int) -> Frame | None:
    return _frame(data[position : position + 4])


@lru_cache(4096)
def _frame(header: bytes) -> Frame | None:
    """Parse a frame's header; None if it is not of layer II or III, or has a free bit rate."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    kbps_index, hz_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer not in (2, 3) or kbps_index in (0, 15) or hz_index == 3:
        return None
    hz, samples = _HZ[version][hz_index], 576 if layer == 3 and version != 3 else 1152
    mpeg1 = _KBPS_MPEG1 if layer == 3 else _KBPS_MPEG1_II
    kbps = (mpeg1 if version == 3 else _KBPS)[kbps_index]
    return Frame(samples // 8 * 1000 * kbps // hz + padding, samples, (version, layer, hz, header[3] >> 6 == 3))


def _follows(data: bytes, position: int, first: Frame) -> bool:
    """Return whether a frame of the same kind as `first`, or the end of the file, is at `position`."""
    frame = _frame_at(data, position)
    return position >= len(data) or (frame is not None and frame.kind == first.kind)


def _next(data: bytes, position: int, first: Frame) -> int | None:
    """Find the next two consecutive frames of the same kind as `first`, from `position` on; None if there are none."""
    while (position := data.find(b"\xff", position)) >= 0:
        frame = _frame_at(data, position)
        if frame is not None and frame.kind == first.kind and _follows(data, position + frame.length, first):
            return position
        position += 1
    return None


def _side_information(frame: Frame) -> int:
    """Return the number of bytes between a frame's header and its Xing tag."""
    version, _, _, mono = frame.kind
    return (17 if mono else 32) if version == 3 else (9 if mono else 17)


def _stated_frames(frame: bytes) -> int | None:
    """Return the number of frames that the Xing tag in a frame states, 0 if it states none; None without a tag."""
    for name, offset in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14)):
        if (index := frame.find(name, 4, _XING_NAME_END)) >= 0:
            # VBRI always states the number; Xing and Info do if bit 0 of the flags, in their last byte, is set.
            has_count = name == b"VBRI" or int.from_bytes(frame[index + 7 : index + 8]) & 1
            return int.from_bytes(frame[index + offset : index + offset + 4]) if has_count else 0
    return None
