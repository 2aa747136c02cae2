"""Find the samples in a WAV file."""

import io
import struct
from dataclasses import dataclass
from typing import Any

_UNKNOWN_SIZES = (range(0x7FFFF000, 0x80000001), range(0xFFFFFF00, 0x100000000))
"""Sizes that mean "unknown", from programs that write to a pipe: about the largest number of 31 or of 32 bits."""


@dataclass(frozen=True)
class WavData:
    """Samples of a RIFF file, in bytes: their `offset`, their `size` in the file and the size `stated` in the header.

    `fmt` is the content of the format chunk. `unfinished` says that the header does not state the size, because a
    recorder died or wrote to a pipe; the samples then extend to the end of the file.
    """

    offset: int
    size: int
    stated: int
    channels: int
    sample_rate: int
    encoding: str
    fmt: bytes
    unfinished: bool

    def header(self) -> bytes:
        """Build a plain header that states `size`, for libraries that need one."""
        riff = min(self.size + len(self.fmt) + 20, 0xFFFFFFFF)
        data = min(self.size, 0xFFFFFFFF)
        return struct.pack(
            f"<4sI4s4sI{len(self.fmt)}s4sI", b"RIFF", riff, b"WAVE", b"fmt ", len(self.fmt), self.fmt, b"data", data
        )

    @property
    def frames(self) -> int:
        """Number of samples per channel; 0 if they are compressed."""
        bits = self.encoding.removeprefix("pcm").removeprefix("float")
        return self.size * 8 // (self.channels * int(bits)) if bits.isdecimal() and int(bits) * self.channels else 0


def wav_data(source: bytes | io.IOBase) -> WavData | None:
    """Find the samples of a RIFF or RF64 WAV file; None if it is not one.

    A header is not always 44 bytes: any number of chunks may come before ``data``, and ``fmt`` may be extensible.
    """
    file: io.IOBase = io.BytesIO(source) if isinstance(source, bytes) else source
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    riff = file.read(12)
    if riff[:4] not in (b"RIFF", b"RF64") or riff[8:12] != b"WAVE":
        return None
    layout: dict[str, Any] = {}
    long_size = 0
    while len(head := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        start = file.tell()
        if name == b"fmt " and len(body := file.read(min(size, 40))) >= 16:
            layout = _wav_format(body)
        elif name == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"data" and layout:
            stated = long_size if long_size and size == 0xFFFFFFFF else size
            present = length - start
            is_unknown = not long_size and any(size in sizes for sizes in _UNKNOWN_SIZES)
            unfinished = (is_unknown and stated > present) or (not stated and _is_sound(file, start, length))
            stated = present if unfinished else stated
            return WavData(start, min(stated, present), stated, unfinished=unfinished, **layout)
        elif not _is_name(name):
            return None
        file.seek(start + size + size % 2)
    return None


def _is_name(name: bytes) -> bool:
    """Return whether four bytes can be the name of a chunk: printable ASCII."""
    return name.isascii() and name.decode().isprintable()


def _is_sound(file: io.IOBase, start: int, end: int) -> bool:
    """Return whether bytes `start` to `end` are sound, and neither empty nor just further chunks."""
    while start < end:
        file.seek(start)
        head = file.read(8)
        if len(head) < 8 or not _is_name(head[:4]):
            return True
        size = int.from_bytes(head[4:], "little")
        start += 8 + size + size % 2
    return start > end + 1  # the last chunk may lack its padding byte


def _wav_format(body: bytes) -> dict[str, Any]:
    tag, channels, sample_rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
    if tag == 0xFFFE and len(body) >= 26:  # WAVE_FORMAT_EXTENSIBLE: the tag is the first two bytes of a GUID
        tag = struct.unpack("<H", body[24:26])[0]
    kind = {1: "pcm", 3: "float"}.get(tag, f"tag{tag}-")
    return {"channels": channels, "sample_rate": sample_rate, "encoding": f"{kind}{bits}", "fmt": body}
