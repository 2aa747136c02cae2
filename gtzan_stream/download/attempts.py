"""Download one file in as many attempts as it takes, each of which goes on where the one before broke.

Every byte that arrives is written to the file at once. When the connection breaks, or brings nothing for `timeout_s`,
the next attempt asks for the bytes from the file's present end on; a server that cannot continue sends the whole file
again. A download is given up after `ATTEMPTS` broken attempts, counted from the last that brought new bytes, however
long it has run before. The pauses between attempts double and are partly random, so that many machines do not come
back together. A server that says when to come back (``Retry-After``) is obeyed, up to a minute.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from random import SystemRandom

from gtzan_stream.download.file_system import open_file
from gtzan_stream.download.http import open_http
from gtzan_stream.download.source import (
    CannotContinue,
    Source,
    is_missing,
    is_refused,
    is_unreachable,
    reason_of,
    retry_after_s,
    status_of,
    timeout_s,
    without_password,
)
from gtzan_stream.errors import UserError, writing
from gtzan_stream.threads import program_is_ending

log = logging.getLogger(__name__)

ATTEMPTS = 4
"""Broken attempts before a download is given up. An attempt that brought new bytes is the first of a new count."""

FIRST_PAUSE_S = 1.0
"""Longest pause before the second attempt; up to half is taken off at random. It doubles with each further attempt."""

MAX_PAUSE_S = 60.0
"""The longest pause that a server can ask for."""

_random = SystemRandom()  # random numbers of torch, numpy and `random` stay as they are

OnProgress = Callable[[int, int | None], None]
"""Called with the bytes in the file and the total, or None if the server does not say."""


class DownloadError(OSError):
    """A file that could not be downloaded. The message is a sentence with the address and the reason.

    Attributes
    ----------
    is_missing : bool
        Whether the file does not exist.
    is_wrong : bool
        Whether the server sent another file than the expected one.
    is_answered : bool
        Whether the server answered, with a refusal or an error.
    """

    def __init__(
        self, message: str, *, is_missing: bool = False, is_wrong: bool = False, is_answered: bool = False
    ) -> None:
        super().__init__(message)
        self.is_missing, self.is_wrong, self.is_answered = is_missing, is_wrong, is_answered


def download(
    address: str, part: Path, *, size: int | None = None, on_progress: OnProgress | None = None, patient: bool = True
) -> int:
    """Append the missing bytes of a file to `part`, and return their number.

    Parameters
    ----------
    address : str
        http://, https:// or file://, or an address for fsspec.
    part : Path
        File that holds the first bytes, or none. It is never removed, only cut to 0 bytes.
    size : int, optional
        Size that the whole file must have.
    on_progress : callable, optional
    patient : bool
        Whether to try again if no server can be reached.

    Raises
    ------
    DownloadError
        If the server refuses, `ATTEMPTS` attempts break, or the file has another size.
    UserError
        If fsspec has no file system for the address.
    WriteError
        If `part` cannot be written.
    """
    received = attempts = failures = 0
    most, shown = _size(part), without_password(address)
    while True:
        attempts += 1
        _check_running()
        try:
            for n_bytes in _append(address, part, size, failures, on_progress or (lambda done, total: None)):
                received += n_bytes
            return received
        except (UserError, DownloadError):
            raise
        except Exception as error:  # file systems pass on the errors of their own libraries
            if isinstance(error, CannotContinue) and _size(part):
                log.warning("%s: %s; starting again", shown, error)
                os.truncate(part, 0)
                continue
            failures = 1 if _size(part) > most else failures + 1
            most = max(most, _size(part))
            _raise_if_final(shown, error, attempts, is_last=failures >= ATTEMPTS, patient=patient)
            pause_s = _pause_s(error, failures)
            log.warning("%s: %s; trying again in %.1f s", shown, reason_of(error), pause_s)
        wait(pause_s)


def _raise_if_final(address: str, error: Exception, attempts: int, *, is_last: bool, patient: bool) -> None:
    """Raise DownloadError if no further attempt should be made after `error`."""
    if is_missing(error):
        raise DownloadError(f"{address} does not exist", is_missing=True, is_answered=True) from error
    is_answered = is_refused(error) or status_of(error) is not None
    if is_refused(error) or is_last or (not patient and is_unreachable(error)):
        tries = f" in {attempts} attempts" if attempts > 1 else ""
        raise DownloadError(
            f"{address} could not be downloaded{tries}: {reason_of(error)}", is_answered=is_answered
        ) from error


def _pause_s(error: Exception, failures: int) -> float:
    """Return how long to wait before the next attempt: what the server says, else 1, 2, 4, ... s, less up to a half."""
    asked_s = retry_after_s(error)
    pause_s = FIRST_PAUSE_S * 2 ** (failures - 1) * _random.uniform(0.5, 1) if asked_s is None else asked_s
    return min(pause_s, MAX_PAUSE_S)


def wait(seconds: float) -> None:
    """Sleep. Raises DownloadError when the program ends, so that its end does not wait for downloads."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        _check_running()
        time.sleep(min(left, 0.1))


def _check_running() -> None:
    if program_is_ending():
        raise DownloadError("the download was cancelled because the program has ended")


def _open(address: str, start: int, failures: int) -> AbstractContextManager[Source]:
    if address.startswith(("http://", "https://", "file://")):
        return open_http(address, start, timeout_s())
    return open_file(address, start, timeout_s(), failures)


def _append(address: str, part: Path, size: int | None, failures: int, on_progress: OnProgress) -> Iterator[int]:
    """Append the missing bytes to `part`, and yield the length of each block. An error leaves those before it."""
    done = _size(part)
    if size is not None and done >= size:
        if done == size:
            return
        done = 0
    with _open(address, done, failures) as source:
        total = source.total if source.total is not None else size
        if size is not None and total != size:
            raise DownloadError(
                f"{without_password(address)} has {total} bytes, the manifest says {size}", is_wrong=True
            )
        done = source.start
        n_missing = None if total is None else total - done
        with writing(part, n_missing):
            file = part.open("ab" if done else "wb", buffering=0)  # unbuffered, so that closing it cannot fail to write
        with file:
            on_progress(done, total)
            for block in source.blocks:
                _check_running()
                with writing(part, n_missing):
                    _write_all(file, block)
                done += len(block)
                on_progress(done, total)
                yield len(block)
                if size is not None and done > size:
                    raise DownloadError(f"{without_password(address)} has more than {size} bytes", is_wrong=True)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")


def _write_all(file: FileIO, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
