"""Write a file in one step: either the old one stays as it is or the new one is whole, and nothing else is left."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gtzan_stream.errors import UserError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def atomic_write(path: Path, n_bytes: int | None = None) -> Iterator[BinaryIO]:
    """Give a binary file to write, which takes the place of `path` when the block ends well.

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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        reason = error if isinstance(error, OSError) else error.__context__  # torch hides what a file has raised
        if not isinstance(reason, OSError):
            raise
        remedy = _room(path, n_bytes) if reason.errno in _NO_ROOM else "choose another folder"
        raise UserError(f"{path} cannot be written: {reason.strerror or reason}; {remedy}") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, as `atomic_write` does."""
    data = text.encode()
    with atomic_write(path, len(data)) as file:
        file.write(data)


def _room(path: Path, n_bytes: int | None) -> str:
    """How much room is needed and there, in words."""
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    free = f"{shutil.disk_usage(folder).free / 1e6:,.1f} MB are free there"
    needed = "" if n_bytes is None else f"it needs about {n_bytes / 1e6:,.1f} MB, "
    return f"{needed}{free}: make room, or choose another folder"
