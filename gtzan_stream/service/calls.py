"""Calls: what other threads leave to a server's main thread."""

import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class Calls:
    """Functions to call in the main thread, and a socket that wakes it.

    Attributes
    ----------
    woken : socket.socket
        Can be read when there is something to do.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], object]] = deque()
        self.woken, self._wake = socket.socketpair()
        self.woken.setblocking(False)
        self._wake.setblocking(False)

    def add(self, function: Callable[[], object] | None = None) -> None:
        """Let the main thread call a function, or just wake. May be called from any thread, and a signal handler."""
        if function:
            self._waiting.append(function)
        with suppress(OSError):  # it was closed, or so many bytes are in it that the main thread will wake anyway
            self._wake.send(b".")

    def run(self) -> None:
        """Call what has been added."""
        with suppress(BlockingIOError):
            self.woken.recv(4096)
        for _ in range(len(self._waiting)):
            self._waiting.popleft()()

    def close(self) -> None:
        """Close the sockets."""
        self._wake.close()
        self.woken.close()
