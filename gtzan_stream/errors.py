"""The errors that users see, in one sentence: `UserError` and `BadSample`."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gtzan_stream.words import one_line

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class UserError(ValueError):
    """A request that cannot be met; the sentence says the rule, what came, and the remedy."""


class BadSample(ValueError):
    """An example that cannot be read or decoded; the sentence names its shard and key."""


class Unwritable(UserError):
    """A file or folder that cannot be written; the sentence says why, and on a full disk how much room is needed."""


def in_words(error: Exception) -> str:
    """An error as one line for people: of an OSError, the path, what is wrong with it, and what to check."""
    if not isinstance(error, OSError) or error.strerror is None:
        return one_line(str(error))
    path = "" if error.filename is None else f"{one_line(str(error.filename))}: "
    return f"{path}{error.strerror}; check the path, its permissions and the room on its disk"


def first_line(error: Exception) -> str:
    """The first line of what an error says, or else its name: for errors of other libraries."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


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


def _room(path: Path, n_bytes: int | None) -> str:
    """How much room is needed and there, in words."""
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    free = f"{shutil.disk_usage(folder).free / 1e6:,.1f} MB are free there"
    needed = "" if n_bytes is None else f"it needs about {max(n_bytes, 1e5) / 1e6:,.1f} MB, "  # never 0.0
    return f"{needed}{free}: make room, or choose another folder"
