"""Download one file over http, https or file, and resume broken downloads."""

import http.client
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from urllib.parse import urlsplit

from gtzan_stream.errors import UserError, writing
from gtzan_stream.folders import fsync

log = logging.getLogger(__name__)

ATTEMPTS = 4
"""Attempts without any new bytes before a download is given up."""

PAUSE_S = 1.0
"""Pause before the second attempt; it doubles with each further one."""

TIMEOUT_S = 60.0
BLOCK = 1 << 20


def download(url: str, target: Path, *, progress: Callable[[int, int | None], None] | None = None) -> None:
    """Download `url` to `target`, which only exists once it is complete.

    Until then the bytes are in `<target>.part`. A broken download continues from there, in this call and in later ones.
    If the server does not support HTTP ranges, it starts again from the beginning.

    Parameters
    ----------
    url : str
        http://, https:// or file://.
    target : Path
        File to write, in an existing folder.
    progress : callable, optional
        Called with the bytes downloaded and the total, or None if the server does not say.

    Raises
    ------
    UserError
        If the address has another scheme, the server refuses it, or `ATTEMPTS` attempts in a row bring no new bytes.
        `<target>.part` is kept.
    WriteError
        If the file cannot be written.
    """
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise UserError(f"expected an address that starts with http://, https:// or file://; got {url!r}")
    part = target.with_name(target.name + ".part")
    failures, most = 0, _size(part)
    while True:
        try:
            _continue(url, part, progress or (lambda done, total: None))
            break
        except (OSError, http.client.HTTPException) as error:
            failures = 1 if _size(part) > most else failures + 1
            most = max(most, _size(part))
            if failures == ATTEMPTS or not _is_temporary(url, error):
                raise UserError(f"{url}: {error}") from error
            log.warning("%s: %s; trying again", url, error)
            time.sleep(PAUSE_S * 2 ** (failures - 1))
    with writing(target):
        fsync(part)
        os.replace(part, target)


def _continue(url: str, part: Path, progress: Callable[[int, int | None], None]) -> None:
    """Append the missing bytes to `part`. If an OSError or HTTPException is raised, the bytes that arrived are kept."""
    done = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        if error.headers.get("Content-Range") == f"bytes */{done}":
            return  # the file is complete; only the renaming is left
        part.unlink()
        raise ConnectionError(f"{part} is longer than the file; starting again") from error
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            done = 0
        elif not (response.headers.get("Content-Range") or "").startswith(f"bytes {done}-"):
            part.unlink(missing_ok=True)
            raise ConnectionError(f"asked for bytes from {done}, got {response.headers.get('Content-Range')}")
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        with writing(part, total and total - done):
            file = part.open("ab" if done else "wb", buffering=0)  # unbuffered, so that closing it cannot fail to write
        with file:
            progress(done, total)
            while block := response.read(BLOCK):
                with writing(part, total and total - done):
                    _write_all(file, block)
                done += len(block)
                progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")


def _write_all(file: FileIO, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_temporary(url: str, error: Exception) -> bool:
    """Return whether another attempt may succeed: not for a local file, nor after a refusal such as 404."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code in (408, 429)
    return urlsplit(url).scheme != "file"
