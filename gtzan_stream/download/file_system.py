"""Read a file of any file system of fsspec (s3, gs, hf, sftp, memory, ...) from any byte on.

These libraries have deadlines of their own, or none, and a call may block for minutes. So each call runs in a thread of
its own, and is given up after `timeout_s`: the thread stays behind until the library returns, and does no harm.

From outside, a call either returns all of its bytes or none. So that a slow link does not look like a silent server,
the first block is small, and small again after a failure. Blocks double while they arrive within a second, and are
halved if they take longer than four.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

from gtzan_stream.download.source import CannotContinue, Source, without_password
from gtzan_stream.errors import UserError

_FIRST_BLOCK, _MIN_BLOCK, _MAX_BLOCK = 1 << 18, 1 << 10, 1 << 23
_EXTRA_SCHEMES = ("s3://", "gs://", "hf://")  # these need the extra `remote`; others are built into fsspec


@contextmanager
def open_file(address: str, start: int, timeout_s: float, failures: int) -> Iterator[Source]:
    """Open a file at byte `start`, after `failures` broken attempts.

    Raises
    ------
    UserError
        If fsspec has no file system for the address.
    """
    file_system, path = within(timeout_s, find_file_system, address)
    # Without a cache, `read` requests exactly the bytes that it returns.
    file = within(timeout_s, lambda: file_system.open(path, "rb", cache_type="none"))
    try:
        if start:
            try:
                within(timeout_s, file.seek, start)
            except (OSError, ValueError, NotImplementedError) as error:
                if isinstance(error, TimeoutError):
                    raise
                raise CannotContinue(f"the file cannot be read from byte {start} on") from None
        size = getattr(file, "size", None)  # in some libraries a method
        total = size if isinstance(size, int) else None
        yield Source(start, total, _blocks(file, timeout_s, _FIRST_BLOCK >> 3 * failures))
    finally:
        with suppress(Exception):
            within(0, file.close)  # this does not wait, as `close` may block, too


def _blocks(file: Any, timeout_s: float, n_bytes: int) -> Iterator[bytes]:
    while True:
        began = time.monotonic()
        if not (block := within(timeout_s, file.read, max(n_bytes, _MIN_BLOCK))):
            return
        seconds = time.monotonic() - began
        yield block
        if seconds < 1:
            n_bytes = min(2 * n_bytes, _MAX_BLOCK)
        elif seconds > 4:
            n_bytes = max(n_bytes // 2, _MIN_BLOCK)


def within(timeout_s: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a thread, and return its result. Raise TimeoutError if it takes longer than `timeout_s`."""
    outcome: Future[Any] = Future()

    def call() -> None:
        try:
            outcome.set_result(function(*arguments))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=call, name="gtzan-stream-call", daemon=True).start()
    return outcome.result(timeout_s)


def find_file_system(address: str) -> tuple[Any, str]:
    """Return fsspec's file system for an address, and the path in it. Raises UserError if there is none."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        needs_extra = isinstance(error, ImportError) and address.startswith(_EXTRA_SCHEMES)
        remedy = "; it needs the extra remote: pip install 'gtzan-stream[remote]'" if needs_extra else ""
        raise UserError(f"{without_password(address)} cannot be read: {error}{remedy}") from error
