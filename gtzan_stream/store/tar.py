"""The members of a tar file, those behind damaged headers too."""

import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

Report = Callable[[str, str], None]
"""Takes what is wrong with a tar file: kind and detail."""


@dataclass(frozen=True)
class TarMember:
    """A member: its name, and where its bytes lie. `problem` says why they cannot be read; empty if they can."""

    name: str
    offset: int
    size: int
    problem: str = ""


def list_members(path: Path, report: Report) -> Iterator[TarMember]:
    """List the files in a tar file; stretches without a readable header are reported and skipped.

    tarfile ends quietly at a header that it cannot read, raises at one that follows an extended header, and jumps to
    wherever a wrong size points, so it would lose every member after them. Where it stops, look for another header.
    """
    n_members = end = skip = 0
    cut = False
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        while (start := _next_header(file, end + skip)) is not None:
            if not cut and _not_zero(file, end, start):  # cut: the bytes are those of the member with a wrong size
                lost = f"{start - end} bytes up to the next header are left out, and whatever clip was in them"
                report("damaged", f"no tar header at byte {end}: {lost}")
            file.seek(start)
            end, skip = start, tarfile.BLOCKSIZE  # in case even the first member cannot be read
            with suppress(tarfile.TarError, ValueError), tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    n_members += 1
                    cut = member.offset_data + member.size > size
                    if not member.isdir():
                        yield _described(member, size)
                    end = member.offset_data if cut else tar.offset
                    if cut:
                        break  # the shard ends here, or the size is wrong
                else:
                    end, skip = tar.offset, 0
        if cut:
            report("truncated", f"the shard ends at byte {size}, inside its last member")
        elif not n_members:
            is_empty = not _not_zero(file, 0, size)
            report("empty" if is_empty else "damaged", "no files in it" if is_empty else "no tar header in it")
        elif _not_zero(file, end, size):
            report("damaged", f"no tar header at byte {end}, nor after it: whatever clips were there are left out")


def _described(member: tarfile.TarInfo, shard_size: int) -> TarMember:
    if not member.isfile() or member.issparse():
        what = f"is a link to {member.linkname}" if member.islnk() or member.issym() else "is not an ordinary file"
        return TarMember(member.name, member.offset_data, 0, f"it {what} in the tar file: pack the file itself")
    problem = "its tar header says a negative size" if member.size < 0 else ""
    if member.offset_data + member.size > shard_size:
        there = max(0, shard_size - member.offset_data)
        problem = f"the shard ends after {there} of the {member.size} bytes that its tar header says"
    return TarMember(member.name, member.offset_data, member.size, problem)


def _next_header(file: BinaryIO, offset: int) -> int | None:
    """Byte at which the next valid tar header begins, from `offset` on; None if there is none."""
    file.seek(offset)
    while len(block := file.read(tarfile.BLOCKSIZE)) == tarfile.BLOCKSIZE:
        try:
            tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
            return offset
        except tarfile.HeaderError:
            offset += tarfile.BLOCKSIZE
    return None


def _not_zero(file: BinaryIO, start: int, end: int) -> bool:
    """Whether the file holds anything but zeros, with which a tar ends, from byte `start` to `end`."""
    file.seek(start)
    while start < end and (block := file.read(min(end - start, 1 << 20))):
        if any(block):
            return True
        start += len(block)
    return False
