"""File objects that show part of another file, optionally with other bytes prepended."""

import io
from typing import Any


def rewound(file: io.IOBase) -> io.IOBase:
    """Seek to the beginning of a file and return it."""
    file.seek(0)
    return file


class Memory(io.BytesIO):
    """A file in memory in which seeking before the beginning goes to the beginning, as in `Section`."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self.getbuffer().nbytes}[whence]
        return super().seek(max(0, base + offset))


class Section(io.RawIOBase):
    """Base class of read-only files with a known size and their own position. Subclasses read in `readinto`.

    Seeking before the beginning goes to the beginning: libsndfile does so in short files and cannot handle an error.
    """

    def __init__(self, size: int) -> None:
        self._size, self._position = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def _within(self, buffer: Any) -> memoryview:
        """Return the part of `buffer` that can be filled with the bytes from the position on."""
        view = memoryview(buffer).cast("B")
        return view[: max(0, min(len(view), self._size - self._position))]


class View(Section):
    """A file of `head` followed by bytes `start` to `end` of `file`.

    Several views of one file can be used in turn, but not from several threads.

    >>> View(io.BytesIO(b"0123456789"), 4, 8, head=b"ab").read()
    b'ab4567'
    """

    def __init__(self, file: io.IOBase, start: int, end: int, head: bytes = b"") -> None:
        super().__init__(len(head) + end - start)
        self._file, self._start, self._head = file, start, head

    def readinto(self, buffer: Any) -> int:
        view = self._within(buffer)
        if self._position < len(self._head):
            part = self._head[self._position : self._position + len(view)]
        else:
            self._file.seek(self._start + self._position - len(self._head))
            part = self._file.read(len(view))
        view[: len(part)] = part
        self._position += len(part)
        return len(part)
