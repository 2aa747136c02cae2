"""How many bytes of sound a header promises that its file does not hold: libsndfile says nothing of it."""

import io
import re
import struct

from gtzan_stream.audio.view import rewound
from gtzan_stream.words import count

_NIST_COUNTS = {
    name: re.compile(rb"%s -i (\d+)" % name) for name in (b"sample_count", b"channel_count", b"sample_n_bytes")
}


def missing(file: io.IOBase) -> str:
    """Say how many bytes are missing at the end of an AU, AIFF, CAF, W64, NIST or VOC file; empty if none are.

    Where a header leaves the length open, nothing is missing.
    """
    promised = _promised(file)
    size = file.seek(0, io.SEEK_END)
    return promised_in_vain(promised - size)


def promised_in_vain(n_bytes: int) -> str:
    """Say that a header promises so many bytes more than there are; empty if it does not promise more."""
    return f"the header promises {count(n_bytes, 'byte')} more than there are" if n_bytes > 0 else ""


def _promised(file: io.IOBase) -> int:
    """Bytes up to which a file's sound should reach by its header; 0 if that is open, or the format is another one."""
    head = rewound(file).read(40)
    if head[:4] == b".snd":
        start, size = struct.unpack(">II", head[4:12].ljust(8, b"\0"))
        return 0 if size == 0xFFFFFFFF else start + size
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _end_of_chunk(file, 12, ">4sI", b"SSND")
    if head[:4] == b"caff":
        return _end_of_chunk(file, 8, ">4sq", b"data")
    if head[:4] == b"riff" and head[24:28] == b"wave":
        return _end_of_chunk(file, 40, "<4s12xQ", b"data", counts_header=True)
    if head[:7] == b"NIST_1A":
        header = rewound(file).read(1024)
        found = [pattern.search(header) for pattern in _NIST_COUNTS.values()]
        counts = [int(match[1]) for match in found if match]
        return 1024 + counts[0] * counts[1] * counts[2] if len(counts) == len(found) else 0
    if head[:19] == b"Creative Voice File":
        start = int.from_bytes(head[20:22], "little")
        file.seek(start)
        block = file.read(4)
        return start + 4 + int.from_bytes(block[1:4], "little") if len(block) == 4 else 0
    return 0


def _end_of_chunk(file: io.IOBase, position: int, header: str, wanted: bytes, *, counts_header: bool = False) -> int:
    """Byte at which a chunk ends that is called `wanted`; 0 if there is none, or its size is 0 or negative."""
    length, file_size = struct.calcsize(header), file.seek(0, io.SEEK_END)
    while position < file_size and len(head := _read_at(file, position, length)) == length:
        name, size = struct.unpack(header, head)
        end = position + size + (0 if counts_header else length)
        if name == wanted or size <= 0:
            return end if name == wanted and size > 0 else 0
        position = end + (-size % 8 if counts_header else size % 2 if header == ">4sI" else 0)
    return 0


def _read_at(file: io.IOBase, position: int, length: int) -> bytes:
    file.seek(position)
    return file.read(length)
