"""Errors with one-sentence messages for users (`UserError`, `BadSample`), and functions that convert other errors."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gtzan_stream.words import one_line

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class UserError(ValueError):
    """A request that cannot be met. The message says the rule, what was given, and the remedy."""


class BadSample(ValueError):
    """An example that cannot be read or decoded. The message names its shard and key."""


class WriteError(UserError):
    """A file or folder that cannot be written. The message says why and, on a full disk, how much space is needed."""


def format_error(error: Exception) -> str:
    """Return the message of an error on one line; for an OSError, its path, its reason and what to check."""
    if not isinstance(error, OSError) or error.strerror is None:
        return one_line(str(error))
    path = "" if error.filename is None else f"{one_line(str(error.filename))}: "
    return f"{path}{error.strerror}; check the path, its permissions and the free space on its disk"


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type if it has none. For errors of other libraries."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def writing(path: Path, n_bytes: int | None = None, *, reads_too: bool = False) -> Iterator[None]:
    """Convert the errors of a block that writes to `path` into `WriteError`.

    Parameters
    ----------
    path : Path
        File or folder, for the message.
    n_bytes : int, optional
        About how much the block writes, for the message if the disk is full.
    reads_too : bool
        Whether the block also reads files or from a network. If so, only errors that cannot come from reading (a full
        or read-only disk) are converted.

    Raises
    ------
    WriteError
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch raises a RuntimeError of its own while it handles the OSError of a file.
        reason = error if isinstance(error, OSError) else error.__context__
        if not isinstance(reason, OSError) or (reads_too and reason.errno not in _DISK_FULL | {errno.EROFS}):
            raise
        remedy = _space(path, n_bytes) if reason.errno in _DISK_FULL else "choose another folder"
        raise WriteError(f"{path} cannot be written: {reason.strerror or reason}; {remedy}") from error


def _space(path: Path, n_bytes: int | None) -> str:
    """Say how much space is needed and how much is free on the disk of `path`, and what to do."""
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    free = f"{shutil.disk_usage(folder).free / 1e6:,.1f} MB are free there"
    needed = "" if n_bytes is None else f"it needs about {max(n_bytes, 1e5) / 1e6:,.1f} MB, "  # not "0.0 MB"
    return f"{needed}{free}: make room, or choose another folder"
