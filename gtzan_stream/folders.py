"""Folders for unfinished work: after an error nothing is left of it, and what killed processes left is removed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gtzan_stream.errors import writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def created(folder: Path, path: Path | None = None, n_bytes: int | None = None) -> Iterator[None]:
    """Make a folder, with its parents; if the block fails, those that were made here are removed, if they are empty.

    Raises
    ------
    Unwritable
        If it cannot be made; names `path`, or else the folder.
    """
    missing: list[Path] = []
    try:
        with writing(path or folder, n_bytes):
            missing += [parent for parent in (folder, *folder.parents) if not parent.exists()]
            folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for parent in missing:
            with suppress(OSError):
                parent.rmdir()
        raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder until the block ends. Raises BlockingIOError if another process has locked it."""
    lock = _lock(folder, wait=False)
    try:
        yield
    finally:
        _unlock(lock)


@contextmanager
def scratch(parent: Path, prefix: str, n_bytes: int | None = None) -> Iterator[Path]:
    """Give a new hidden folder in `parent`, which is removed when the block ends, unless it was moved.

    Its process holds a lock on it until then. Folders of that prefix that nobody has locked were left by processes that
    were killed; they are removed first, where there are locks.

    Raises
    ------
    Unwritable
        If it cannot be made.
    """
    for leftover in parent.glob(f"{prefix}*"):
        _remove_if_unlocked(leftover)
    with writing(parent, n_bytes):
        folder, lock = _make_locked(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _unlock(lock)


def fsync(path: Path) -> None:
    """Bring a file to the disk; or of a folder, what was made, renamed and removed in it."""
    if not path.is_dir():
        with path.open("r+b") as file:  # Windows does not write out what is open for reading
            os.fsync(file.fileno())
    elif hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _make_locked(parent: Path, prefix: str) -> tuple[Path, int | None]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = None
        with suppress(OSError):  # a file system without locks
            lock = _lock(folder)
        if folder.exists():  # else another process has taken it for a leftover before it was locked
            return folder, lock
        _unlock(lock)


def _remove_if_unlocked(leftover: Path) -> None:
    if fcntl is None:  # nothing tells whether it is in use
        return
    with suppress(OSError):  # it is locked, another user's, or gone
        lock = _lock(leftover, wait=False)
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink()
        _unlock(lock)


def _lock(folder: Path, *, wait: bool = True) -> int | None:
    """Lock a folder, until its descriptor is closed; None where there are no locks. Raises OSError if it cannot."""
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _unlock(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
