"""A part of a binary file as a file of its own, with other bytes in front."""

import io
from typing import Any


def rewound(file: io.IOBase) -> io.IOBase:
    """The same file, at its beginning."""
    file.seek(0)
    return file


class Memory(io.BytesIO):
    """Bytes as a file, in which seeking before the beginning goes to the beginning, as in a `View`."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self.getbuffer().nbytes}[whence]
        return super().seek(max(0, base + offset))


class View(io.RawIOBase):
    """Read-only: `head`, then the bytes `start` to `end` of `file`.

    Has a position of its own, so several views of one file can be read in turn, though not from several threads.
    Seeking before the beginning goes to the beginning.

    >>> View(io.BytesIO(b"0123456789"), 4, 8, head=b"ab").read()
    b'ab4567'
    """

    def __init__(self, file: io.IOBase, start: int, end: int, head: bytes = b"") -> None:
        self._file, self._start, self._head = file, start, head
        self._size, self._position = len(head) + end - start, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)  # libsndfile goes further back in short files, and cannot take an error
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view = view[: max(0, min(len(view), self._size - self._position))]
        if self._position < len(self._head):
            part = self._head[self._position : self._position + len(view)]
        else:
            self._file.seek(self._start + self._position - len(self._head))
            part = self._file.read(len(view))
        view[: len(part)] = part
        self._position += len(part)
        return len(part)
