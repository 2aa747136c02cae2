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
        unlock(lock)


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
        unlock(lock)


def lock_file(path: Path, n_bytes: int | None = None, *, wait: bool = True) -> int | None:
    """Create a file if needed, and lock it until the result is passed to `unlock`, or until this process ends.

    Parameters
    ----------
    path : Path
    n_bytes : int, optional
        About how much will be written, for the message if the disk is full.
    wait : bool
        Whether to wait until no other process has locked it.

    Returns
    -------
    int or None
        None if the system or the file system has no locks.

    Raises
    ------
    BlockingIOError
        If another process has locked it, and `wait` is false.
    WriteError
        If the file cannot be created.
    """
    if fcntl is None:
        return None
    with writing(path, n_bytes):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # NFS locks only files that are open for writing
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return descriptor


def unlock(descriptor: int | None) -> None:
    """Release a lock. Closing is not enough: a forked child may have a copy of the descriptor."""
    if descriptor is not None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


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
        unlock(lock)


def _remove_if_unlocked(leftover: Path) -> None:
    if fcntl is None:  # Without locks it may be in use.
        return
    with suppress(OSError):  # It is locked, belongs to another user, or no longer exists.
        lock = _lock(leftover, wait=False)
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink()
        unlock(lock)


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
