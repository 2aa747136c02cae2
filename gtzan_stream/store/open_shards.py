"""Keep shards open, and read bytes at any position of them from any thread."""

import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

from gtzan_stream.audio.view import Section
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.threads import fork_safe_lock


class OpenShard:
    """An open shard. The file is closed with the last reference, so that a thread that reads it can finish."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._lock = fork_safe_lock()

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._file.fileno()

    @property
    def is_removed(self) -> bool:
        """Whether the file was removed from its folder."""
        return os.fstat(self._file.fileno()).st_nlink == 0

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from byte `offset` on. Raises ValueError if the file ends too early."""
        done = 0
        while done < len(buffer):
            n_read = self._read_some(buffer[done:], offset + done)
            if not n_read:
                size = os.fstat(self._file.fileno()).st_size
                raise ValueError(f"the shard is truncated: it ends at byte {size}, not after {offset + len(buffer)}")
            done += n_read

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        """Read bytes from `offset` on, and return their number.

        Other threads and forked processes read the same file, so its own position cannot be used.
        """
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [buffer], offset)
        if hasattr(os, "pread"):  # macOS before 11
            data = os.pread(self._file.fileno(), len(buffer), offset)
            buffer[: len(data)] = data
            return len(data)
        with self._lock:  # Windows, where threads must take turns to move the file's position; it has no fork
            self._file.seek(offset)
            return self._file.readinto(buffer) or 0

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on. Raises ValueError if the file ends too early."""
        data = bytearray(size)
        self.read_into(memoryview(data), offset)
        return bytes(data)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


class OpenShards:
    """The most recently used shards of a set, kept open."""

    def __init__(self, manifest: Manifest, limit: int) -> None:
        self._manifest, self._limit = manifest, limit
        self._open: OrderedDict[int, OpenShard] = OrderedDict()  # least recently used first
        self._lock = fork_safe_lock()
        self._closed = False

    def get(self, shard: int) -> OpenShard:
        """Return a shard, opened if necessary."""
        with self._lock:
            self._check_open()
            found = self._open.get(shard)
            if found is not None:
                self._open.move_to_end(shard)
                return found
        # Without the lock, because the shard may have to be downloaded. If two threads open it, one is closed again.
        found = self._open_shard(self._manifest.shards[shard].name)
        with self._lock:
            self._check_open()
            # Close shards that were evicted from the cache of remote shards: only then is their space free.
            for number in [number for number, other in self._open.items() if other.is_removed]:
                del self._open[number]
            self._open[shard] = found
            if len(self._open) > self._limit:
                self._open.popitem(last=False)
        return found

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the reader is closed")

    def _open_shard(self, name: str) -> OpenShard:
        try:
            try:
                return OpenShard(self._manifest.path(name))
            except FileNotFoundError:  # another process may have evicted it from the cache just now
                return OpenShard(self._manifest.path(name))
        finally:  # after an error too: the likely cause is that the set was packed again
            self._manifest.folder.check_unchanged()

    def close(self) -> None:
        """Close the shards, and refuse to open more: other threads may still ask for some."""
        with self._lock:
            self._closed = True
            self._open.clear()


class MemberFile(Section):
    """A member of a shard, as a file for libsndfile.

    libsndfile calls `readinto` from C, which cannot pass an exception on. If a read fails, the file seems to end, and
    `error` holds the exception.
    """

    error: Exception | None = None

    def __init__(self, shard: OpenShard, offset: int, size: int) -> None:
        super().__init__(size)
        self._shard, self._offset = shard, offset

    def readinto(self, buffer: Any) -> int:
        view = self._within(buffer)
        try:
            self._shard.read_into(view, self._offset + self._position)
        except (OSError, ValueError) as error:
            self.error = error
            return 0
        self._position += len(view)
        return len(view)
