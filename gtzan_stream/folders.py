"""Create, lock and sync folders. Errors leave nothing behind, and leftovers of killed processes are removed."""

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
    """Create a folder and its parents. If the block fails, remove those that did not exist before and are empty.

    Parameters
    ----------
    folder : Path
    path : Path, optional
        Path to name in errors; the folder by default.
    n_bytes : int, optional
        About how much will be written, for the message if the disk is full.

    Raises
    ------
    WriteError
        If the folder cannot be created.
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
    """Lock a folder until the block ends. Raise BlockingIOError if another process has locked it."""
    lock = _lock(folder, wait=False)
    try:
        yield
    finally:
        _unlock(lock)


@contextmanager
def scratch(parent: Path, prefix: str, n_bytes: int | None = None) -> Iterator[Path]:
    """Create a temporary folder in `parent`, and remove it when the block ends, unless it was moved.

    This process holds a lock on the folder until then. Unlocked folders with the same prefix were left by killed
    processes, and are removed first. On systems without locks they stay.

    Raises
    ------
    WriteError
        If the folder cannot be created.
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
    """Flush a file to the disk; for a folder, flush its entries, so that files created or renamed in it persist."""
    if not path.is_dir():
        with path.open("r+b") as file:  # Windows cannot sync a file that is open for reading only.
            os.fsync(file.fileno())
    elif hasattr(os, "O_DIRECTORY"):  # Windows cannot open folders.
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _make_locked(parent: Path, prefix: str) -> tuple[Path, int | None]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = None
        with suppress(OSError):  # This file system may have no locks.
            lock = _lock(folder)
        if folder.exists():  # Otherwise another process removed it as a leftover before it was locked.
            return folder, lock
        _unlock(lock)


def _remove_if_unlocked(leftover: Path) -> None:
    if fcntl is None:  # Without locks it may be in use.
        return
    with suppress(OSError):  # It is locked, belongs to another user, or no longer exists.
        lock = _lock(leftover, wait=False)
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink()
        _unlock(lock)


def _lock(folder: Path, *, wait: bool = True) -> int | None:
    """Lock a folder until the returned descriptor is closed; None without locks. Raise OSError if it fails."""
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
