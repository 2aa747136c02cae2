"""List the members of a tar file, including those behind damaged headers.

A tar file is a sequence of blocks of 512 bytes: for each member a header, with a checksum, and the member's data; zeros
at the end. A member's size in its header says where the next header is, so one wrong byte in a header hides all members
after it: tarfile stops quietly at a header that it cannot read, raises an error at one that follows an extended header,
and jumps to wherever a wrong size leads.

So `list_members` reads a shard in stretches. When tarfile stops, it searches block by block for the next header with a
correct checksum, and starts tarfile there again:

    | header a | data a | header b | data b ... | header c | data c | zeros |
                        ^ damaged               ^ next correct checksum
    stretch 1: a        `end`: gap to report    stretch 2: c

A gap of zeros only is not reported: it is padding, or the end of one of several tar files that were joined. If a size
reaches beyond the end of the shard, then either the shard was truncated in this member, or the size is wrong; the
search for the next header then begins at the member's data.
"""

import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

Report = Callable[[str, str], None]
"""Called with the kind and detail of each issue."""


@dataclass(frozen=True)
class TarMember:
    """A member: name, and position and size of its data in bytes. `problem` says why it cannot be read, or is empty."""

    name: str
    offset: int
    size: int
    problem: str = ""


def list_members(path: Path, report: Report) -> Iterator[TarMember]:
    """Yield all members except folders, and report every stretch of bytes without a readable header.

    See the top of this file for the method.
    """
    n_members = 0
    end = 0  # where reading stopped: every member before it was listed
    skip = 0  # how far after `end` to begin the search for the next header
    cut = False  # whether the last member reaches beyond the end of the shard
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        while (start := _next_header(file, end + skip)) is not None:
            if not cut and _has_data(file, end, start):  # if cut, these bytes belong to the member with a wrong size
                lost = f"{start - end} bytes up to the next header are left out, with any clip in them"
                report("damaged", f"no tar header at byte {end}: {lost}")
            file.seek(start)
            end, skip = start, tarfile.BLOCKSIZE  # if tarfile cannot read this header either, search after it
            with suppress(tarfile.TarError, ValueError), tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    n_members += 1
                    cut = member.offset_data + member.size > size
                    if not member.isdir():
                        yield _tar_member(member, size)
                    if cut:
                        end, skip = member.offset_data, 0
                        break
                    end = tar.offset
                else:
                    end, skip = tar.offset, 0
        if cut:
            report("truncated", f"the shard ends at byte {size}, inside its last member")
        elif not n_members:
            is_empty = not _has_data(file, 0, size)
            report("empty" if is_empty else "damaged", "no files in it" if is_empty else "no tar header in it")
        elif _has_data(file, end, size):
            report("damaged", f"no tar header at byte {end}, nor after it: any clips there are left out")


def _tar_member(member: tarfile.TarInfo, shard_size: int) -> TarMember:
    """Describe a member, with a `problem` if it is not an ordinary file or not all of its bytes are in the shard."""
    if not member.isfile() or member.issparse():
        what = f"is a link to {member.linkname}" if member.islnk() or member.issym() else "is not an ordinary file"
        return TarMember(member.name, member.offset_data, 0, f"it {what} in the tar file: pack the file itself")
    problem = "its tar header states a negative size" if member.size < 0 else ""
    if member.offset_data + member.size > shard_size:
        n_present = max(0, shard_size - member.offset_data)
        problem = f"the shard ends after {n_present} of the {member.size} bytes that its tar header states"
    return TarMember(member.name, member.offset_data, member.size, problem)


def _next_header(file: BinaryIO, offset: int) -> int | None:
    """Return the offset of the next block, from `offset` on, that is a valid tar header; None if there is none."""
    file.seek(offset)
    while len(block := file.read(tarfile.BLOCKSIZE)) == tarfile.BLOCKSIZE:
        try:
            tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
            return offset
        except tarfile.HeaderError:
            offset += tarfile.BLOCKSIZE
    return None


def _has_data(file: BinaryIO, start: int, end: int) -> bool:
    """Return whether any of the bytes `start` to `end` is not zero."""
    file.seek(start)
    while start < end and (block := file.read(min(end - start, 1 << 20))):
        if any(block):
            return True
        start += len(block)
    return False
