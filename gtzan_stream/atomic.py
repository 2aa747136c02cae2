"""Replace a file atomically: afterwards it is the old file or the complete new one, and no other file is left."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from gtzan_stream.errors import WriteError, writing
from gtzan_stream.folders import created, fsync


@contextmanager
def atomic_write(path: Path, n_bytes: int | None = None) -> Iterator[BinaryIO]:
    """Open a binary file for writing that replaces `path` when the block ends without an error.

    The data are written to ``<path>.unfinished`` first. If a killed process left such a file, it is overwritten.

    Parameters
    ----------
    path : Path
        File to write. Its folder is created if needed.
    n_bytes : int, optional
        About how much will be written, for the message if the disk is full.

    Raises
    ------
    WriteError
        If the file cannot be written.
    """
    if not path.name or path.is_dir():
        raise WriteError(f"{path} is a folder: name a file in it")
    unfinished = path.with_name(path.name + ".unfinished")
    with writing(path, n_bytes), created(path.parent, path, n_bytes):
        try:
            with unfinished.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise


def put_in_place(part: Path, path: Path) -> None:
    """Flush a complete file to the disk, and rename it to `path`, in the same folder or disk. Raises WriteError."""
    with writing(path):
        fsync(part)
        os.replace(part, path)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 with `atomic_write`."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file with `atomic_write`."""
    with atomic_write(path, len(data)) as file:
        file.write(data)
