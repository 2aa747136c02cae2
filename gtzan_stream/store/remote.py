"""Remote shards: download them whole into a local cache, check them, and evict the least recently used ones.

Cache. Each address has a folder of its own, which all processes of the machine share. A file is stored as
``<first 16 digits of its sha256>-<name>``, so a set that was packed again has other file names and is downloaded again.
A cached file is used if it has the size in the manifest; otherwise it is downloaded again. manifest.json is downloaded
every time a set is opened.

Eviction. Before a download, the shards with the oldest modification time are removed until the new one fits into the
limit; using a shard sets its modification time. The tables are small and stay. A shard that is open stays readable
after its removal, and its space is freed when it is closed. `RemoteFolder.check_cache_holds` makes sure beforehand that
the shards a loader shuffles together fit into the cache, since otherwise they would evict each other all the time.

Download. A file is downloaded into a hidden folder, checked against its sha256, written to disk and renamed to its
place, so that an interrupted download never leaves part of a file in the cache. A download that fails is tried again
after 0.5, 1 and 2 seconds, except when the file does not exist or the local disk cannot be written. Threads that need
the same file wait for one download; two processes may both download it.
"""

import hashlib
import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from gtzan_stream.errors import UserError, writing
from gtzan_stream.folders import created, fsync, scratch
from gtzan_stream.store.folder import File, Folder
from gtzan_stream.store.tables import MANIFEST
from gtzan_stream.threads import fork_safe_lock, thread_pool

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 4
FIRST_WAIT_S = 0.5
DEFAULT_CACHE_GB = 20.0
_PART_PREFIX = ".part-"
_EXTRA_SCHEMES = ("s3://", "gs://", "hf://")  # these need the extra `remote`; others are built into fsspec


def is_remote(root: str | Path) -> bool:
    """Return whether `root` is an address, such as s3://, gs://, https:// or hf://, instead of a local path."""
    return "://" in str(root)


class RemoteFolder(Folder):
    """The files of a set of shards at an address, with a local cache.

    Parameters
    ----------
    address : str
        Address of the folder, for fsspec.
    cache : Path, optional
        Local folder for the files; by default a folder for this address in the folder that the environment variable
        ``GTZAN_STREAM_CACHE`` names, or in ``~/.cache/gtzan-stream``.
    limit_bytes : int, optional
        Bytes of shards to keep; by default the gigabytes (10**9 bytes) in ``GTZAN_STREAM_CACHE_GB``, or 20 GB.
    """

    def __init__(self, address: str, cache: Path | None = None, limit_bytes: int | None = None) -> None:
        self.root: Path | str = address.rstrip("/")
        self.cache = cache or _default_cache(address.rstrip("/"))
        self.limit_bytes = _default_limit() if limit_bytes is None else limit_bytes
        self._files: dict[str, File] = {}
        self._locks: defaultdict[str, Any] = defaultdict(fork_safe_lock)
        self._prefetcher = thread_pool(2, "gtzan-stream-shards")

    def manifest_path(self) -> Path:
        """Download manifest.json and return its local path. A cached one is never used."""
        target = self.cache / MANIFEST
        try:
            self._download(MANIFEST, target, None)
        except FileNotFoundError as error:
            raise UserError(f"{error}: pack or index the set before uploading it") from error
        except OSError as error:
            raise UserError(str(error)) from error
        return target

    def check_unchanged(self) -> None:
        """Do nothing: every file is compared with its checksum when it is downloaded."""

    def register_files(self, files: Sequence[File], *, check_sizes: bool = True) -> None:
        """Record sizes and checksums, to be checked when a file is downloaded."""
        self._files = {file["name"]: file for file in files}

    def path(self, name: str) -> Path:
        """Return the local path of a file; download it first if the cache does not hold it in its full size.

        Raises
        ------
        OSError
            If every attempt to download it failed, or gave a file with a wrong checksum.
        """
        file = self._files[name]
        target = self.cache / f"{file['sha256'][:16]}-{name}"
        with self._locks[name]:
            if target.is_file() and target.stat().st_size == file["size"]:
                os.utime(target)  # mark it as just used, for `_make_room`
            else:
                self._make_room(file["size"])
                self._download(name, target, file["sha256"], file["size"])
        return target

    def prefetch(self, names: Iterable[str]) -> list[Future[Any]]:
        """Start to download files in the background. Failures are ignored: `path` will try again and raise them."""
        return [self._prefetcher.submit(self.path, name) for name in names]

    def check_cache_holds(self, n_shards: int | None) -> None:
        """Raise UserError if the largest `n_shards` shards (None for all) do not fit into the cache together."""
        sizes = sorted((file["size"] for name, file in self._files.items() if name.endswith(".tar")), reverse=True)
        needed = sum(sizes[:n_shards])
        if needed > self.limit_bytes:
            raise UserError(
                f"{len(sizes[:n_shards])} shards of {self.root}, {needed / 1e9:.3g} GB, are shuffled together, but"
                f" the cache {self.cache} holds {self.limit_bytes / 1e9:.3g} GB: choose a smaller shuffle_shards or set"
                " GTZAN_STREAM_CACHE_GB"
            )

    def address(self, name: str = "") -> str:
        """Return the address of the folder or of a file in it."""
        return f"{self.root}/{name}" if name else str(self.root)

    def _download(self, name: str, target: Path, sha256: str | None, size: int | None = None) -> None:
        """Download a file to `target`, in several attempts, with waits that double."""
        wait_s = FIRST_WAIT_S
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                self._download_once(name, target, sha256, size)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{self.address(name)} does not exist") from error
            except UserError:
                raise
            except Exception as error:  # fsspec's file systems pass on the errors of their own libraries
                if attempt == MAX_ATTEMPTS:
                    raise OSError(
                        f"{self.address(name)} could not be downloaded in {MAX_ATTEMPTS} attempts: {error}"
                    ) from error
                log.warning(
                    "%s could not be downloaded (%s), trying again in %.1f s", self.address(name), error, wait_s
                )
                time.sleep(wait_s)
                wait_s *= 2
            else:
                return

    def _download_once(self, name: str, target: Path, sha256: str | None, size: int | None) -> None:
        """Download a file into a hidden folder, check it, and rename it to `target`."""
        file_system, remote = _file_system(self.address(name))
        with created(self.cache, target, size), scratch(self.cache, _PART_PREFIX, size) as folder:
            part = folder / target.name
            with writing(target, size, reads_too=True):
                file_system.get_file(remote, str(part))
            if sha256 is not None and (found := _sha256(part)) != sha256:
                raise OSError(f"its sha256 is {found[:12]}..., the manifest says {sha256[:12]}...")
            with writing(target, size):
                fsync(part)
                os.replace(part, target)

    def _make_room(self, size: int) -> None:
        """Evict least recently used shards until `size` more bytes fit. Open file handles stay valid."""
        files = [(path.stat().st_mtime_ns, path.stat().st_size, path) for path in self.cache.glob("*.tar")]
        total = sum(file_size for _, file_size, _ in files)
        for _, file_size, path in sorted(files):
            if total + size <= self.limit_bytes:
                return
            try:
                path.unlink(missing_ok=True)
            except PermissionError:  # an open shard, on Windows
                continue
            total -= file_size


def _default_cache(address: str) -> Path:
    caches = os.environ.get("GTZAN_STREAM_CACHE") or Path.home() / ".cache" / "gtzan-stream"
    return Path(caches) / hashlib.sha256(address.encode()).hexdigest()[:16]


def _default_limit() -> int:
    """Return the size of the cache in bytes. Raises UserError if ``GTZAN_STREAM_CACHE_GB`` is not a positive number."""
    text = os.environ.get("GTZAN_STREAM_CACHE_GB", str(DEFAULT_CACHE_GB))
    with suppress(ValueError):
        if 0 < (gigabytes := float(text)) < 1e9:
            return int(gigabytes * 1e9)
    raise UserError(f"GTZAN_STREAM_CACHE_GB is the size of the cache in gigabytes, such as 20; got {text!r}")


def _file_system(address: str) -> tuple[Any, str]:
    """Return fsspec's file system for an address, and the path in it. Raises UserError if there is none."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        needs_extra = isinstance(error, ImportError) and address.startswith(_EXTRA_SCHEMES)
        remedy = "; it needs the extra remote: pip install 'gtzan-stream[remote]'" if needs_extra else ""
        raise UserError(f"{address} cannot be read: {error}{remedy}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
