"""Find bytes that a header states but the file lacks; libsndfile does not report them."""

import io
import re
import struct

from gtzan_stream.audio.view import rewound
from gtzan_stream.words import count

_NIST_COUNTS = tuple(
    re.compile(rb"%s -i (\d+)" % name) for name in (b"sample_count", b"channel_count", b"sample_n_bytes")
)


def missing_bytes(file: io.IOBase) -> str:
    """Say how many bytes are missing at the end of an AU, AIFF, CAF, W64, NIST or VOC file; "" if none are.

    If the header does not state a length, nothing is missing.
    """
    stated_end = _stated_end(file)
    size = file.seek(0, io.SEEK_END)
    return describe_missing(stated_end - size)


def describe_missing(n_bytes: int) -> str:
    """Say that a file has `n_bytes` fewer than its header states; "" if that is not positive."""
    return f"the header states {count(n_bytes, 'byte')} more than there are" if n_bytes > 0 else ""


def _stated_end(file: io.IOBase) -> int:
    """Return the byte where the sound ends according to the header; 0 if it does not say, or for other formats."""
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
        found = [pattern.search(header) for pattern in _NIST_COUNTS]
        counts = [int(match[1]) for match in found if match]
        return 1024 + counts[0] * counts[1] * counts[2] if len(counts) == len(found) else 0
    if head[:19] == b"Creative Voice File":
        start = int.from_bytes(head[20:22], "little")
        file.seek(start)
        block = file.read(4)
        return start + 4 + int.from_bytes(block[1:4], "little") if len(block) == 4 else 0
    return 0


def _end_of_chunk(file: io.IOBase, position: int, header: str, wanted: bytes, *, counts_header: bool = False) -> int:
    """Return the byte at which the chunk called `wanted` ends; 0 if there is none, or its size is not positive.

    `header` is the struct format of a chunk's name and size. Chunks of AIFF are padded to even sizes, those of CAF are
    not. With `counts_header`, as in W64, a size includes the header, and chunks are padded to multiples of 8 bytes.
    """
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
