"""Find the chained streams of an Ogg file, and streams that are cut.

Radio recorders, and `cat`, write several streams one after the other; libsndfile decodes only the first. It also reads
a file without its last pages as if it were a shorter one.

References
----------
.. [1] S. Pfeiffer, "The Ogg encapsulation format version 0", RFC 3533, 2003.
"""

import io
from dataclasses import dataclass

from gtzan_stream.words import count

_HEADER = 27
_FIRST, _LAST = 0x02, 0x04  # flags of a logical stream's first and last page


@dataclass
class Stream:
    """One of the streams that are chained in an Ogg file: bytes `start` to `end`, and what is wrong with it."""

    start: int
    end: int
    damage: str = ""


def streams(file: io.IOBase) -> list[Stream]:
    """Find the chained streams of an Ogg file. Most files have one."""
    size = file.seek(0, io.SEEK_END)
    found: list[Stream] = []
    position = first_before = ended = 0
    while (page := _page(file, position)) is not None:
        flags, length = page
        is_first = flags & _FIRST and not first_before  # the first pages of multiplexed streams follow each other
        if is_first or not found:
            _close(found, ended)
            found.append(Stream(position, position))
            ended = 0
        first_before, ended = flags & _FIRST, ended | flags & _LAST
        position += length
        found[-1].end = min(position, size)
        if position > size:
            found[-1].damage = f"the file ends {count(position - size, 'byte')} before the end of an Ogg page"
        else:
            following = _next_page(file, position, size)
            if following not in (position, size):  # other data at the end of the file is harmless
                found[-1].damage = f"{following - position} bytes from byte {position} on are not Ogg pages"
                position = following
    _close(found, ended)
    return found


def _close(found: list[Stream], ended: int) -> None:
    """Mark the last stream of `found` as damaged if it did not end with a last page."""
    if found and not ended and not found[-1].damage:
        found[-1].damage = "its last Ogg page is missing"


def _page(file: io.IOBase, position: int) -> tuple[int, int] | None:
    """Return flags and length in bytes of the page at `position`; None if there is none."""
    file.seek(position)
    header = file.read(_HEADER)
    if len(header) < _HEADER or header[:4] != b"OggS":
        return None
    segments = file.read(header[26])
    return header[5], _HEADER + header[26] + sum(segments)


def _next_page(file: io.IOBase, position: int, size: int) -> int:
    """Find the next page from `position` on; returns the size of the file if there is none."""
    file.seek(position)
    before = b""
    while block := file.read(1 << 16):
        data = before + block
        if (index := data.find(b"OggS")) >= 0:
            return position - len(before) + index
        position += len(block)
        before = data[-3:]
    return size
