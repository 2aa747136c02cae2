"""Remote shards: download them whole into a local cache, and check them.

Cache. Each address has a folder of its own, which all processes of the machine share (see cache.py). A set that was
packed again has other checksums, so other file names in the cache, and is downloaded again. A cached file is used if it
has the size in the manifest; otherwise it is downloaded again. manifest.json is downloaded every time a set is opened.
`RemoteFolder.check_cache_holds` makes sure beforehand that the shards a loader shuffles together fit into the cache,
since otherwise they would evict each other all the time.

Download. A file is downloaded to a part file (see gtzan_stream/download), compared with its sha256, and renamed to its
place. If the sum is wrong, the file is downloaded once more from byte 0: the part may have been begun by a process that
was killed, or the file may have changed on the server. A file that still cannot be had is given up for good: every
later request fails at once with the same message. If the manifest at the address now lists other files, the message
says that the set was replaced.

Offline. If no server can be reached, a set with a cached manifest is opened from the cache, with a warning. With
``GTZAN_STREAM_OFFLINE=1``, nothing is ever requested.
"""

import hashlib
import logging
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gtzan_stream.atomic import put_in_place
from gtzan_stream.download.attempts import DownloadError, download
from gtzan_stream.download.source import without_password
from gtzan_stream.errors import UserError, WriteError
from gtzan_stream.folders import created, scratch
from gtzan_stream.store.cache import is_complete, publish, remove_abandoned, reserved, used_bytes
from gtzan_stream.store.folder import File, Folder
from gtzan_stream.store.manifest_json import load_metadata
from gtzan_stream.store.tables import MANIFEST
from gtzan_stream.threads import fork_safe_lock, thread_pool

log = logging.getLogger(__name__)

DEFAULT_CACHE_GB = 20.0


def is_remote(root: str | Path) -> bool:
    """Return whether `root` is an address, such as s3://, gs://, https:// or hf://, instead of a local path."""
    return "://" in str(root)


class RemoteFolder(Folder):
    """The files of a set of shards at an address, with a local cache.

    Parameters
    ----------
    address : str
        Address of the folder: http://, https://, file://, or any that fsspec knows.
    cache : Path, optional
        Local folder for the files; by default a folder for this address in the folder that the environment variable
        ``GTZAN_STREAM_CACHE`` names, or in ``gtzan-stream`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.
    limit_bytes : int, optional
        Bytes of shards to keep; by default the gigabytes (10**9 bytes) in ``GTZAN_STREAM_CACHE_GB``, or 20 GB.
    """

    def __init__(self, address: str, cache: Path | None = None, limit_bytes: int | None = None) -> None:
        self._url = address.rstrip("/")
        self.root: Path | str = without_password(self._url)  # for messages
        self.cache = cache or _default_cache(self._url)
        self.limit_bytes = _default_limit() if limit_bytes is None else limit_bytes
        self._files: dict[str, File] = {}
        self._locks: dict[str, Any] = {}
        self._prefetcher = thread_pool(2, "gtzan-stream-shards")
        self._given_up: dict[str, Exception] = {}  # by name of the file
        self._is_unreachable = False  # whether the manifest had to be taken from the cache
        self._finished: list[tuple[int, float]] = []  # bytes and seconds of each download

    def manifest_path(self) -> Path:
        """Download manifest.json and return its local path. A cached one is used only if no server can be reached."""
        target = self.cache / MANIFEST
        if _is_offline():
            if not target.is_file():
                raise UserError(f"{self.root} is not in the cache {self.cache}: unset GTZAN_STREAM_OFFLINE to open it")
            log.warning("%s: only what is in the cache %s is used: GTZAN_STREAM_OFFLINE is set", self.root, self.cache)
            return target
        try:
            self._download_manifest(replace=True)
        except DownloadError as error:
            if error.is_missing:
                raise UserError(f"{error}: pack or index the set before uploading it") from error
            if error.is_answered or not target.is_file():
                raise UserError(str(error)) from error
            log.warning("%s: the cached set in %s is used", error, self.cache)
            self._is_unreachable = True
        return target

    def record_manifest(self, content: bytes) -> None:
        """Do nothing: the checksums of the files tell whether the set was replaced."""

    def check_unchanged(self) -> None:
        """Do nothing: every file is compared with its checksum when it is downloaded."""

    def register_files(self, files: Sequence[File], *, check_sizes: bool = True) -> None:
        """Record sizes and checksums, to be checked when a file is downloaded."""
        self._files = {file["name"]: file for file in files}
        self._locks = {name: fork_safe_lock() for name in self._files}
        remove_abandoned(self.cache, [self._target(name).name for name in self._files])

    def path(self, name: str) -> Path:
        """Return the local path of a file; download it first if the cache does not hold it in its full size.

        Raises
        ------
        DownloadError
            If it could not be downloaded, now or when it was first requested.
        UserError
            If the set was replaced while it was in use, or the cache cannot be written.
        """
        with self._locks[name]:
            if not is_complete(self._target(name), self._files[name]["size"]):
                if error := self._given_up.get(name):
                    raise type(error)(str(error))
                try:
                    self._download(name)
                except WriteError:
                    raise
                except (DownloadError, UserError) as error:
                    self._given_up[name] = type(error)(str(error))  # without its traceback, which holds buffers
                    raise
        return self._target(name)

    def prefetch(self, names: Iterable[str]) -> list[Future[Any]]:
        """Start to download files in the background. Failures are ignored: `path` will raise them."""
        return [self._prefetcher.submit(self.path, name) for name in names]

    def check_cache_holds(self, n_shards: int) -> None:
        """Raise UserError if the largest `n_shards` shards do not fit into the cache together."""
        sizes = sorted((self._files[name]["size"] for name in self._shard_names()), reverse=True)
        needed = sum(sizes[:n_shards])
        if needed > self.limit_bytes:
            raise UserError(
                f"{len(sizes[:n_shards])} shards of {self.root}, {needed / 1e9:.3g} GB, are needed at once, but the"
                f" cache {self.cache} holds {self.limit_bytes / 1e9:.3g} GB: set GTZAN_STREAM_CACHE_GB; smaller shards,"
                " and in training a smaller shuffle_shards, need less"
            )

    def cache_state(self) -> dict[str, Any]:
        """Return the cache's folder, its limit, what it holds, and what this object has downloaded, in bytes and s."""
        held = [self._target(name).name for name in self._shard_names()]
        return {
            "folder": str(self.cache),
            "shards": sum((self.cache / name).is_file() for name in held),
            "bytes": used_bytes(self.cache),
            "limit_bytes": self.limit_bytes,
            "downloaded_bytes": sum(n_bytes for n_bytes, _ in self._finished),
            "download_s": sum(seconds for _, seconds in self._finished),
        }

    def address(self, name: str = "") -> str:
        """Return the address of the folder or of a file in it."""
        return f"{self.root}/{name}" if name else str(self.root)

    def _target(self, name: str) -> Path:
        return self.cache / f"{self._files[name]['sha256'][:16]}-{name}"

    def _shard_names(self) -> list[str]:
        return [name for name in self._files if name.endswith(".tar")]

    def _download(self, name: str) -> None:
        """Download a file to its place. If it cannot be had, find out whether the set was replaced."""
        target, size = self._target(name), self._files[name]["size"]
        if _is_offline():
            raise DownloadError(
                f"{self.address(name)} is not in the cache {self.cache}, and GTZAN_STREAM_OFFLINE is set"
            )
        failure: DownloadError
        with created(self.cache, target, size), reserved(target, size, self.limit_bytes) as part:
            if part is None:
                return
            try:
                self._download_checked(name, part)
                publish(part, target, size)
                return
            except DownloadError as error:
                failure = error
        if (failure.is_missing or failure.is_wrong) and self._was_replaced():
            raise UserError(f"the set at {self.root} was packed again while it was in use: create a new loader")
        if self._is_unreachable and not failure.is_answered:
            raise DownloadError(f"{failure}; it is not in the cache {self.cache}")
        raise failure

    def _download_checked(self, name: str, part: Path) -> None:
        """Download the rest of a file, and compare it with the manifest. A wrong one is downloaded once more."""
        size, sha256 = self._files[name]["size"], self._files[name]["sha256"]
        for is_last in (False, True):
            try:
                self._append(name, part, size)
                if (found := _sha256(part)) != sha256:
                    message = f"its sha256 is {found[:12]}..., the manifest says {sha256[:12]}..."
                    raise DownloadError(f"{self.address(name)} is damaged: {message}", is_wrong=True)
                return
            except DownloadError as error:
                if not error.is_wrong:
                    raise
                if part.exists():
                    os.truncate(part, 0)
                if is_last:
                    raise
                log.warning("%s: downloading it again", error)

    def _append(self, name: str, part: Path, size: int) -> None:
        """Download the rest of a file, and record and log how fast it was."""
        is_quoted = self._url.startswith(("http://", "https://", "file://"))  # for fsspec, % is a character
        began = time.monotonic()
        url = f"{self._url}/{quote(name) if is_quoted else name}"  # a name may hold ? or #
        n_bytes = download(url, part, size=size, patient=not self._is_unreachable)
        seconds = max(time.monotonic() - began, 1e-6)
        self._finished.append((n_bytes, seconds))
        log.info(
            "%s: %.1f MB in %.1f s, %.1f MB/s", self.address(name), n_bytes / 1e6, seconds, n_bytes / 1e6 / seconds
        )

    def _download_manifest(self, *, replace: bool) -> list[File]:
        """Download and check manifest.json, replace the cached one if wanted, and return the files that it lists."""
        target = self.cache / MANIFEST
        with created(self.cache, target), scratch(self.cache, ".manifest-") as folder:
            part = folder / MANIFEST
            download(f"{self._url}/{MANIFEST}", part, patient=not target.is_file())
            metadata = load_metadata(part.read_bytes(), self.address(MANIFEST))  # before it replaces a good one
            if replace:
                put_in_place(part, target)
        return metadata["shards"] + metadata["tables"]

    def _was_replaced(self) -> bool:
        """Return whether the manifest at the address now lists other files."""
        try:
            files = self._download_manifest(replace=False)
        except (OSError, UserError):
            return False
        return {file["name"]: file for file in files} != self._files


def _default_cache(address: str) -> Path:
    users = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    caches = os.environ.get("GTZAN_STREAM_CACHE") or Path(users) / "gtzan-stream"
    return Path(caches) / hashlib.sha256(address.encode()).hexdigest()[:16]


def _default_limit() -> int:
    """Return the size of the cache in bytes. Raises UserError if ``GTZAN_STREAM_CACHE_GB`` is not a positive number."""
    text = os.environ.get("GTZAN_STREAM_CACHE_GB", str(DEFAULT_CACHE_GB))
    with suppress(ValueError):
        if 0 < (gigabytes := float(text)) < 1e9:
            return int(gigabytes * 1e9)
    raise UserError(f"GTZAN_STREAM_CACHE_GB is the size of the cache in gigabytes, such as 20; got {text!r}")


def _is_offline() -> bool:
    return os.environ.get("GTZAN_STREAM_OFFLINE", "") not in ("", "0")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
