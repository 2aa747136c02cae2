"""Write a file in one step: either the old one stays as it is or the new one is whole, and nothing else is left."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from gtzan_stream.errors import UserError
from gtzan_stream.folders import made

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Unwritable(UserError):
    """A file or folder that cannot be written; the sentence says why, and how much room there is if it lacks."""


@contextmanager
def writing(path: Path, n_bytes: int | None = None, *, reads_too: bool = False) -> Iterator[None]:
    """Turn errors of a block that writes `path` into one sentence.

    Parameters
    ----------
    path : Path
        File or folder, for the message.
    n_bytes : int, optional
        About how much will be written, for the message if there is no room for it.
    reads_too : bool
        Whether the block also reads files, or from a network: then only errors that reading never has are turned.

    Raises
    ------
    Unwritable
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = error if isinstance(error, OSError) else error.__context__  # torch hides what a file has raised
        if not isinstance(reason, OSError) or (reads_too and reason.errno not in _NO_ROOM | {errno.EROFS}):
            raise
        remedy = _room(path, n_bytes) if reason.errno in _NO_ROOM else "choose another folder"
        raise Unwritable(f"{path} cannot be written: {reason.strerror or reason}; {remedy}") from error


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
    UserError
        If the file cannot be written; says why and how much room there is.
    """
    unfinished = path.with_name(path.name + ".unfinished")
    with writing(path, n_bytes), made(path.parent):
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


def _room(path: Path, n_bytes: int | None) -> str:
    """How much room is needed and there, in words."""
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    free = f"{shutil.disk_usage(folder).free / 1e6:,.1f} MB are free there"
    needed = "" if n_bytes is None else f"it needs about {max(n_bytes, 1e5) / 1e6:,.1f} MB, "
    return f"{needed}{free}: make room, or choose another folder"
