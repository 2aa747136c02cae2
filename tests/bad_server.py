"""An HTTP server with faults: it stalls, drips, cuts, corrupts, redirects, refuses, and ignores ranges."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server(ThreadingHTTPServer):
    """Server of the files of a folder, which it runs in a thread until the `with` block ends.

    Attributes
    ----------
    faults : dict of iterator
        Faults of the next requests for each file; afterwards it is sent as it is. Without a name: of all files.
    requests : list of (name, range)
        The requests so far, with the header Range or "".
    address : str
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.faults: dict[str, Iterator[Fault]] = {}
        self.requests: list[tuple[str, str]] = []
        self.stopping = threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}"

    def fail(self, name: str, *faults: "Fault", then: "Iterable[Fault]" = ()) -> None:
        """Let the next requests for a file fail, and those after them like `then`."""
        self.faults[name] = (fault for group in (faults, then) for fault in group)

    def ranges(self, name: str) -> list[str]:
        """Return the header Range of each request for a file."""
        return [byte_range for requested, byte_range in self.requests if requested == name]

    def __enter__(self) -> "Server":
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        """Send a file, or the rest of it, or do what the next fault says."""
        name, byte_range = self.path.lstrip("/"), self.headers.get("Range", "")
        self.server.requests.append((name, byte_range))
        fault = next(self.server.faults.get(name, iter(())), None)
        path = self.server.folder / name
        if fault is None and not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes() if path.is_file() else b""
        with suppress(ConnectionError):
            (fault or send)(self, data, int(byte_range.removeprefix("bytes=").rstrip("-") or 0))

    def log_message(self, *_: object) -> None:
        """Print nothing."""


Fault = Callable[[Handler, bytes, int], object]
"""What answers a request for the bytes from an index on, instead of `send`."""


def headers(handler: Handler, size: int, start: int) -> None:
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
    handler.send_header("Content-Length", str(size - start))
    handler.end_headers()


def send(handler: Handler, data: bytes, start: int) -> None:
    headers(handler, len(data), start)
    handler.wfile.write(data[start:])


def cut(n_bytes: int) -> Fault:
    """Drop the connection after some bytes."""

    def fault(handler: Handler, data: bytes, start: int) -> None:
        headers(handler, len(data), start)
        handler.wfile.write(data[start : start + n_bytes])

    return fault


def stall(n_bytes: int | None = None) -> Fault:
    """Send some bytes and then nothing, with the connection open; None: not even headers."""

    def fault(handler: Handler, data: bytes, start: int) -> None:
        if n_bytes is not None:
            cut(n_bytes)(handler, data, start)
        handler.server.stopping.wait(20)

    return fault


def drip(n_blocks: int, pause_s: float) -> Fault:
    """Send the file in blocks, with a pause before each."""

    def fault(handler: Handler, data: bytes, start: int) -> None:
        headers(handler, len(data), start)
        step = -(-(len(data) - start) // n_blocks)
        for first in range(start, len(data), step):
            time.sleep(pause_s)
            handler.wfile.write(data[first : first + step])

    return fault


def corrupt(handler: Handler, data: bytes, start: int) -> None:
    """Send the file with its last byte changed."""
    send(handler, data[:-1] + bytes([data[-1] ^ 1]), start)


def whole(handler: Handler, data: bytes, start: int) -> None:
    """Ignore the range."""
    send(handler, data, 0)


def unbounded(handler: Handler, data: bytes, start: int) -> None:
    """Send more than the file, without its length."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(data + b"more")


def status(code: int, **fields: str) -> Fault:
    """Answer with a status and header fields; Retry_After stands for Retry-After."""

    def fault(handler: Handler, data: bytes, start: int) -> None:
        handler.send_response(code)
        for name, value in fields.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return fault


def other(content: bytes) -> Fault:
    """Send another file."""
    return lambda handler, data, start: send(handler, content, start)
