"""Read a file over http, https or file from any byte on, with urllib."""

import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from gtzan_stream.download.source import CannotContinue, Source

_BLOCK = 1 << 18
_LEGAL = "%/:=&?~#+!$,;'@()*[]"  # characters of an address that stay as they are


@contextmanager
def open_http(address: str, start: int, timeout_s: float) -> Iterator[Source]:
    """Request a file from byte `start` on. Redirects are followed.

    A server may ignore the range and send the whole file (status 200), or find that there is nothing after `start`
    (status 416): then the file is complete if it has `start` bytes.
    """
    try:
        response = urllib.request.urlopen(_request(address, start), timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        if error.headers.get("Content-Range") != f"bytes */{start}":
            raise CannotContinue(
                f"the file has fewer than {start} bytes"
            ) from None  # or `is_refused` would see the 416
        response = None
    if response is None:
        yield Source(start, start, iter(()))
        return
    with response:
        content_range = response.headers.get("Content-Range") or ""
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            start = 0
        elif not content_range.startswith(f"bytes {start}-"):
            raise CannotContinue(f"asked for bytes from {start}, got {content_range or 'no range'}")
        length = response.headers.get("Content-Length")
        yield Source(start, None if length is None else start + int(length), _blocks(response))


def _blocks(response: Any) -> Iterator[bytes]:
    """Yield bytes as they arrive. `read` would wait for a whole block, and lose it if the connection breaks."""
    while block := response.read1(_BLOCK):
        yield block


def _request(address: str, start: int) -> urllib.request.Request:
    """Build a request. Quote illegal characters, and send a user and password in the address as a header."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(quote(parts._replace(netloc=host).geturl(), safe=_LEGAL))
    request.add_header("User-Agent", "gtzan-stream")
    if at:  # unredirected: another server must not see the password
        request.add_unredirected_header("Authorization", f"Basic {b64encode(unquote(user).encode()).decode()}")
    if start:
        request.add_header("Range", f"bytes={start}-")
    return request
