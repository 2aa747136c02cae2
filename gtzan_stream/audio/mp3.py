"""The frames of an MP3 file, counted: libsndfile takes the length from a tag in the first frame, or guesses it.

Encoders that write to a pipe leave out the tag (Xing, Info or VBRI), and joined files have one for each part. The
guess goes by the bit rate of the first frame, so that most of a file of variable bit rate may be lost. Such files are
taken apart, and their frames put behind a tag that counts them.
"""

import re
import struct
from dataclasses import dataclass, field
from functools import lru_cache

from gtzan_stream.words import count

LONGEST_LEAD = 1 << 16
"""Bytes that may stand before the first frame, tags apart."""
_ZEROS = re.compile(rb"\0*")
_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KBPS_MPEG1_II = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_KBPS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version: MPEG-1, 2, 2.5
_TAG_KBPS_INDEX = 9  # a frame of 128 or 80 kbit/s: room for a tag at any rate
_DECODER_DELAY = 529  # samples


@dataclass(frozen=True)
class Frame:
    """What a frame's header says: `length` in bytes, and the `kind` that all frames of a stream share."""

    length: int
    samples: int
    kind: tuple[int, int, int, bool]  # version, layer, Hz, mono


@dataclass
class Link:
    """One of the streams that are joined in a file; most files are one.

    Attributes
    ----------
    first : Frame
    start : int
        Byte at which the first frame begins, the tag's if there is one.
    header : bytes
        The first four bytes of the first frame.
    tag : bytes
        The frame with the tag; empty without one.
    stated : int
        Frames with sound that the tag counts; 0 if it does not say.
    n_frames : int
        Frames with sound that there are; the last one counts, even if a part of it is missing.
    runs : list of (int, int)
        Where they are in the file: first byte and the one after the last.
    missing : int
        Bytes that the last frame lacks.
    stray : int
        Bytes between the frames that are neither frames nor tags.
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
    def tag_is_right(self) -> bool:
        """Whether a tag counts no fewer frames than there are; some encoders count the tag's own."""
        return self.stated >= max(self.n_frames - 1, 1)

    @property
    def is_right(self) -> bool:
        """Whether libsndfile reads the whole stream from `start` on, if nothing follows it: layer II has no tags."""
        return not self.stray and (self.tag_is_right or self.first.kind[1] == 2)

    @property
    def damage(self) -> str:
        """What is wrong, in words; empty if all is well."""
        if self.stated > self.n_frames + 1:
            return f"{self.n_frames} of {self.stated} MPEG frames are there"
        if self.missing:
            return f"its last MPEG frame lacks {count(self.missing, 'byte')}"
        return f"{self.stray} bytes between its frames are not MPEG audio" if self.stray else ""

    def file(self, data: bytes) -> bytes:
        """The stream as a file of its own, of whose length its tag tells the truth."""
        tag = self.tag if self.tag_is_right else b"" if self.first.kind[1] == 2 else self._new_tag()
        return tag + b"".join(data[a:b] for a, b in self.runs)

    def add(self, start: int, end: int) -> None:
        """Count the frame with sound that lies at `start` to `end`."""
        self.n_frames += 1
        if self.runs and self.runs[-1][1] == start:
            start = self.runs.pop()[0]
        self.runs.append((start, end))

    def _new_tag(self) -> bytes:
        """A frame with a tag that counts the others, and a frame of silence.

        mpg123 leaves out the decoder's delay where there is a tag, and more if the tag says so: exactly the silence, so
        that all samples of the file's own frames are left.
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
    """Whether a file that begins with these bytes may be MPEG audio: an ID3 tag, or a frame behind zeros at most."""
    return head[:3] == b"ID3" or _frame_at(head, _ZEROS.match(head).end()) is not None  # type: ignore[union-attr]


def links(data: bytes) -> list[Link]:
    """Find the streams of layer II or III that are joined in a file; an empty list if it is something else."""
    found: list[Link] = []
    position = _after_tags(data, 0)
    while position < len(data):
        frame = _frame_at(data, position)
        same = frame is not None and bool(found) and frame.kind == found[-1].first.kind
        if frame is not None and (same or _follows(data, position + frame.length, frame)):
            end = position + frame.length
            tag = _tag(data[position : position + 64]) if frame.kind[1] == 3 else None
            if tag is not None or not same:
                tag_frame = data[position:end] if tag else b""
                found.append(Link(frame, position, data[position : position + 4], tag_frame, tag or 0))
            if tag is None:
                found[-1].add(position, end)
            found[-1].missing = max(0, end - len(data))
            position = end
        elif (after := _after_tags(data, position)) > position:
            position = after
        elif not found or (following := _next(data, position + 1, found[-1].first)) is None:
            break  # not MPEG audio, or not any more
        else:
            found[-1].stray += following - position
            position = following
    return [link for link in found if link.n_frames]


def _after_tags(data: bytes, position: int) -> int:
    """The byte after the tags (ID3, APE) and zeros at `position`."""
    while True:
        tag = data[position : position + 32]
        if tag[:3] == b"ID3" and len(tag) >= 10:
            size = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]  # seven bits a byte
            position += 10 + size + (10 if tag[5] & 0x10 else 0)
        elif tag[:3] == b"TAG":
            position += 128
        elif tag[:8] == b"APETAGEX" and len(tag) == 32:
            size, is_header = struct.unpack("<I", tag[12:16])[0], tag[23] & 0x20
            position += 32 + (size if is_header else 0)
        elif tag[:1] == b"\0":
            position = _ZEROS.match(data, position).end()  # type: ignore[union-attr]
        else:
            return position


def _frame_at(data: bytes, position: int) -> Frame | None:
    return _frame(data[position : position + 4])


@lru_cache(4096)
def _frame(header: bytes) -> Frame | None:
    """Read a frame's header; None if it is none of layer II or III, or its bit rate is free."""
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
    """Whether a frame like `first`, or the file's end, comes at `position`."""
    frame = _frame_at(data, position)
    return position >= len(data) or (frame is not None and frame.kind == first.kind)


def _next(data: bytes, position: int, first: Frame) -> int | None:
    """Byte at which the next two frames like `first` begin, from `position` on; None if there are none."""
    while (position := data.find(b"\xff", position)) >= 0:
        frame = _frame_at(data, position)
        if frame is not None and frame.kind == first.kind and _follows(data, position + frame.length, first):
            return position
        position += 1
    return None


def _side_information(frame: Frame) -> int:
    """Bytes between a frame's header and what it holds, where a tag stands."""
    version, _, _, mono = frame.kind
    return (17 if mono else 32) if version == 3 else (9 if mono else 17)


def _tag(frame: bytes) -> int | None:
    """How many frames the tag in a frame counts: 0 if it does not say; None without a tag."""
    for name, offset in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14)):
        if (index := frame.find(name, 4, 4 + 32 + 6)) >= 0:
            says = name == b"VBRI" or (frame[index + 7 : index + 8] > b"\0" and frame[index + 7] & 1)
            return int.from_bytes(frame[index + offset : index + offset + 4]) if says else 0
    return None
