"""The local folder of a remote set's files, which all processes of the machine share: room, eviction, locks.

Names. A file is stored as ``<first 16 digits of its sha256>-<name>``. While it is downloaded, its bytes are in
``<that>.<size>.part``. The downloading process holds a lock on the part file; the system releases it when the process
ends, however it ends. So a part file without a lock was left by a killed process: the next process that needs the file
continues it, and until then it is evicted like a shard.

Room. A locked part file counts with its final size, which is in its name: that is the reservation of a download. Before
a new one, the shards and abandoned part files with the oldest modification time are removed until it fits into the
limit; using a shard sets its modification time. If downloads in progress leave too little room, a new one waits. Tables
are small: they do not count, and stay. Looking for room, reserving it and renaming a complete file happen while
``.lock`` is locked, so the limit holds for all processes together. Shards that are open stay readable after their
removal, and their space is freed when they are closed.

On systems without locks (Windows), each process has part files of its own, which nobody continues, and a part file
counts as abandoned if it was not written for an hour.
"""

import logging
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gtzan_stream.download.attempts import wait
from gtzan_stream.errors import WriteError, writing
from gtzan_stream.folders import fsync, lock_file, unlock

log = logging.getLogger(__name__)

_LOCK = ".lock"
_POLL_S = 0.1
_ABANDONED_S = 3600.0
_PART = re.compile(r"(?P<target>.+)\.(?P<size>\d+)(\.\w+)?\.part")


def is_complete(target: Path, size: int) -> bool:
    """Return whether a file is in the cache in its full size, and mark it as just used."""
    try:
        if target.stat().st_size != size:
            return False
    except FileNotFoundError:
        return False
    with suppress(OSError):  # the cache may be read-only
        os.utime(target)
    return True


@contextmanager
def reserved(target: Path, size: int, limit_bytes: int) -> Iterator[Path | None]:
    """Reserve room for a file, and yield the path of its part file; None if another process has completed the file.

    Wait while another process downloads the file, or while downloads in progress leave no room for it. The part file
    stays if the block fails, except if the disk cannot be written.
    """
    is_waiting = False
    while not is_complete(target, size):
        with _cache_locked(target.parent):
            reservation = _reserve(target, size, limit_bytes)
        if reservation is not None:
            break
        if not is_waiting:
            log.info("%s: waiting for another download of it, or for room in the cache", target.name)
            is_waiting = True
        wait(_POLL_S)
    else:
        yield None
        return
    part, lock = reservation
    try:
        yield part
    except WriteError:
        part.unlink(missing_ok=True)
        raise
    finally:
        if part.exists() and (lock is None or not part.stat().st_size):  # nothing that another process could continue
            part.unlink()
        unlock(lock)


def publish(part: Path, target: Path, size: int) -> None:
    """Write a complete part file to the disk, and give it its final name."""
    with writing(target, size):
        fsync(part)
        with _cache_locked(target.parent):
            os.replace(part, target)


def used_bytes(folder: Path) -> int:
    """Return the bytes of shards and part files in a cache."""
    total = 0
    for path in (path for pattern in ("*.tar", "*.part") for path in folder.glob(pattern)):
        with suppress(FileNotFoundError):  # another process may have evicted it
            total += path.stat().st_size
    return total


def remove_abandoned(folder: Path, targets: Iterable[str]) -> None:
    """Remove part files that killed processes left, except those of `targets`, which a later download continues."""
    kept = set(targets)
    unknown = [
        path
        for path in folder.glob("*.part")
        if (found := _PART.fullmatch(path.name)) is None or found["target"] not in kept
    ]
    if unknown:
        with suppress(OSError, WriteError), _cache_locked(folder):  # they may stay in a cache that cannot be written
            for path in unknown:
                if not _is_running(path):
                    path.unlink(missing_ok=True)


@contextmanager
def _cache_locked(folder: Path) -> Iterator[None]:
    lock = lock_file(folder / _LOCK)
    try:
        yield
    finally:
        unlock(lock)


def _reserve(target: Path, size: int, limit_bytes: int) -> tuple[Path, int | None] | None:
    """Make room, and create and lock the part file; None if that must wait for another download."""
    part = target.with_name(f"{target.name}.{size}.part")
    try:
        lock = lock_file(part, size, wait=False)
    except BlockingIOError:
        return None
    try:
        if lock is None:
            with writing(target, size):
                part.unlink(missing_ok=True)
                descriptor, name = tempfile.mkstemp(".part", f"{target.name}.{size}.p", target.parent)
                os.close(descriptor)
                part = Path(name)
        if not is_complete(target, size) and (target.suffix != ".tar" or _make_room(part, size, limit_bytes)):
            return part, lock
        if not part.stat().st_size:
            part.unlink()
    except BaseException:
        unlock(lock)
        raise
    unlock(lock)
    return None


def _make_room(part: Path, size: int, limit_bytes: int) -> bool:
    """Evict files until `size` bytes fit beside the files other than `part`. Return whether the download may begin."""
    evictable: list[tuple[int, int, Path]] = []
    running = 0
    for path in [*part.parent.glob("*.tar"), *part.parent.glob("*.part")]:
        found = _PART.fullmatch(path.name)
        if path == part or (found and not found["target"].endswith(".tar")):
            continue
        if found and _is_running(path):
            running += int(found["size"])
        else:
            with suppress(FileNotFoundError):
                status = path.stat()
                evictable.append((status.st_mtime_ns, status.st_size, path))
    if running and running + size > limit_bytes:
        return False
    total = running + sum(file_size for _, file_size, _ in evictable)
    for _, file_size, path in sorted(evictable):
        if total + size <= limit_bytes:
            break
        try:
            path.unlink(missing_ok=True)
        except PermissionError:  # an open shard, on Windows
            continue
        total -= file_size
    return True


def _is_running(part: Path) -> bool:
    """Return whether a process is writing a part file. Call it while the cache is locked."""
    try:
        lock = lock_file(part, wait=False)
    except BlockingIOError:
        return True
    if lock is None:
        return part.exists() and time.time() - part.stat().st_mtime < _ABANDONED_S
    unlock(lock)
    return False
