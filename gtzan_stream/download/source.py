"""What a download reads: the bytes of a file from a position on, and what the errors of reading them mean."""

import errno
import http.client
import math
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from gtzan_stream.errors import UserError, first_line

DEFAULT_TIMEOUT_S = 30.0
_TEMPORARY = {408, 425, 429}  # the only 4xx that another attempt can mend
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ECONNREFUSED}


def without_password(address: str) -> str:
    """Return an address as it may be shown: with three stars instead of a password.

    >>> without_password("https://ann:secret@host/set")
    'https://ann:***@host/set'
    """
    return re.sub(r"(://[^/@]*?):[^/]*@", r"\1:***@", address)


@dataclass(frozen=True)
class Source:
    """An open file at an address.

    Attributes
    ----------
    start : int
        Index of the first byte that `blocks` yields: the requested one, or 0 if the server sends the whole file.
    total : int or None
        Size of the whole file in bytes, if the server states it.
    blocks : iterator of bytes
        The bytes from `start` on. It raises TimeoutError if none arrive for `timeout_s`.
    """

    start: int
    total: int | None
    blocks: Iterator[bytes]


class CannotContinue(ConnectionError):
    """The server cannot send the rest of the file, so that the download must start again from byte 0."""


def timeout_s() -> float:
    """Return the seconds without data after which a server is given up, from ``GTZAN_STREAM_TIMEOUT_S`` or 30."""
    text = os.environ.get("GTZAN_STREAM_TIMEOUT_S", str(DEFAULT_TIMEOUT_S))
    with suppress(ValueError):
        if 0 < (seconds := float(text)) < 1e6:
            return seconds
    raise UserError(
        f"GTZAN_STREAM_TIMEOUT_S is the number of seconds that a server may send no data, such as 30; got {text!r}"
    )


def reason_of(error: Exception) -> str:
    """Return what went wrong, in words."""
    for cause in _chain(error):
        if isinstance(cause, TimeoutError):
            return f"the server sent no data for {timeout_s():g} s"
        if isinstance(cause, OSError) and cause.strerror:
            return str(cause.strerror)
    return first_line(error)


def status_of(error: Exception) -> int | None:
    """Return the HTTP status that the server answered, or None. Libraries name the attribute in several ways."""
    for owner in _with_responses(error):
        for name in ("code", "status", "status_code"):
            if isinstance(status := getattr(owner, name, None), int) and 100 <= status < 600:
                return status
    return None


def is_missing(error: Exception) -> bool:
    """Return whether the file does not exist."""
    return status_of(error) in (404, 410) or _has(error, FileNotFoundError)


def is_refused(error: Exception) -> bool:
    """Return whether every further attempt would fail like this one."""
    status = status_of(error)
    if status is not None:
        return status < 500 and status not in _TEMPORARY
    return isinstance(error, ValueError | http.client.InvalidURL) or _has(error, PermissionError, IsADirectoryError)


def is_unreachable(error: Exception) -> bool:
    """Return whether no server answered: no network, no such name, nobody who listens, or silence."""
    return status_of(error) is None and any(
        isinstance(cause, ConnectionRefusedError | socket.gaierror | TimeoutError)
        or getattr(cause, "errno", None) in _UNREACHABLE
        for cause in _chain(error, implicit=True)  # some libraries raise their own errors without `from`
    )


def retry_after_s(error: Exception) -> float | None:
    """Return the seconds that a server with status 429 or 503 asks to wait, or None. A date counts from now.

    >>> from urllib.error import HTTPError
    >>> retry_after_s(HTTPError("http://x", 503, "busy", {"Retry-After": "20"}, None))
    20.0
    """
    if status_of(error) not in (429, 503):
        return None
    for owner in _with_responses(error):
        text = (getattr(owner, "headers", None) or {}).get("Retry-After")
        if text is not None:
            with suppress(ValueError):
                seconds = float(text)
                return max(0.0, seconds) if math.isfinite(seconds) else None
            with suppress(ValueError):
                return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None


def _chain(error: BaseException, *, implicit: bool = False) -> list[BaseException]:
    """Return an error and those that caused it; if `implicit`, also those that were handled when it was raised."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            waiting += [getattr(cause, "reason", None), cause.__cause__, cause.__context__ if implicit else None]
    return found


def _has(error: Exception, *kinds: type[Exception]) -> bool:
    return any(isinstance(cause, kinds) for cause in _chain(error))


def _with_responses(error: Exception) -> list[Any]:
    return [owner for cause in _chain(error) for owner in (cause, getattr(cause, "response", None)) if owner]
