"""Write a file in one step: either the old one stays as it is or the new one is whole, and nothing else is left."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from gtzan_stream.errors import Unwritable, writing
from gtzan_stream.folders import created


@contextmanager
def atomic_write(path: Path, n_bytes: int | None = None) -> Iterator[BinaryIO]:
    """Give a binary file to write, which takes the place of `path` when the block ends well.

    What a killed process left, ``<path>.unfinished``, is overwritten.

    Parameters
    ----------
    path : Path
        Its folder is made.
    n_bytes : int, optional
        About how much will be written, for the message if there is no room for it.

    Raises
    ------
    Unwritable
        If the file cannot be written; says why and how much room there is.
    """
    if not path.name or path.is_dir():
        raise Unwritable(f"{path} is a folder: name a file in it")
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


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, as `atomic_write` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, as `atomic_write` does."""
    with atomic_write(path, len(data)) as file:
        file.write(data)
