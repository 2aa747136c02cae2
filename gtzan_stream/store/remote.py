"""Shards on another machine: brought whole into a local folder, checked on arrival, the longest unused removed."""

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
from gtzan_stream.threads import fork_safe_lock, threads

log = logging.getLogger(__name__)

RETRIES = 4
FIRST_WAIT_S = 0.5
DEFAULT_CACHE_GB = 20.0
_PART = ".part-"
_EXTRA = ("s3://", "gs://", "hf://")  # that the extra `remote` brings; fsspec knows others


def is_remote(root: str | Path) -> bool:
    """Whether a folder of shards has an address, such as s3://, gs://, https:// or hf://, instead of a path."""
    return "://" in str(root)


class RemoteFolder(Folder):
    """A folder with an address, of which a local one holds as much as `limit_bytes` of shards.

    Files are kept under their checksum and name, so that a set that was packed again is fetched again. A process may
    share the local folder with others.

    Parameters
    ----------
    address : str
        Of the folder, for fsspec.
    cache : Path, optional
        The local folder; by default one of this address's own, in the one that the environment variable
        ``GTZAN_STREAM_CACHE`` names, or in ``~/.cache/gtzan-stream``.
    limit_bytes : int, optional
        By default the gigabytes (10**9 bytes) that ``GTZAN_STREAM_CACHE_GB`` says, or 20.
    """

    def __init__(self, address: str, cache: Path | None = None, limit_bytes: int | None = None) -> None:
        self.root: Path | str = address.rstrip("/")
        self.cache = cache or _default_cache(address.rstrip("/"))
        self.limit_bytes = _default_limit() if limit_bytes is None else limit_bytes
        self._files: dict[str, File] = {}
        self._locks: defaultdict[str, Any] = defaultdict(fork_safe_lock)
        self._ahead = threads(2, "gtzan-stream-shards")

    def manifest(self) -> Path:
        """Bring manifest.json here, afresh every time."""
        target = self.cache / MANIFEST
        try:
            self._download(MANIFEST, target, None)
        except FileNotFoundError as error:
            raise UserError(f"{error}: pack or index the set before it is uploaded") from error
        except OSError as error:
            raise UserError(str(error)) from error
        return target

    def check_unchanged(self) -> None:
        """Nothing, as every file is compared with its checksum when it comes here."""

    def register_files(self, files: Sequence[File], *, check_sizes: bool = True) -> None:
        """Learn sizes and checksums, which are compared when a file comes here."""
        self._files = {file["name"]: file for file in files}

    def path(self, name: str) -> Path:
        """Bring a file here, unless it is here in its whole size, and give its path.

        Raises
        ------
        OSError
            If it does not arrive, or not with its checksum, however often it is asked for.
        """
        file = self._files[name]
        target = self.cache / f"{file['sha256'][:16]}-{name}"
        with self._locks[name]:
            if target.is_file() and target.stat().st_size == file["size"]:
                os.utime(target)
            else:
                self._make_room(file["size"])
                self._download(name, target, file["sha256"], file["size"])
        return target

    def prefetch(self, names: Iterable[str]) -> list[Future[Any]]:
        """Begin to bring files here in the background; what goes wrong is for `path` to say."""
        return [self._ahead.submit(self.path, name) for name in names]

    def check_room(self, n_shards: int | None) -> None:
        """Refuse to shuffle among more shards than fit.

        Raises
        ------
        UserError
            If the largest `n_shards` (all for None) together exceed the limit; says both sizes.
        """
        sizes = sorted((file["size"] for name, file in self._files.items() if name.endswith(".tar")), reverse=True)
        needed = sum(sizes[:n_shards])
        if needed > self.limit_bytes:
            raise UserError(
                f"{len(sizes[:n_shards])} shards of {self.root}, {needed / 1e9:.3g} GB, are shuffled together and"
                f" the cache {self.cache} holds {self.limit_bytes / 1e9:.3g} GB: choose a smaller shuffle_shards or set"
                " GTZAN_STREAM_CACHE_GB"
            )

    def address(self, name: str = "") -> str:
        """Address of the folder or of a file in it."""
        return f"{self.root}/{name}" if name else str(self.root)

    def _download(self, name: str, target: Path, sha256: str | None, size: int | None = None) -> None:
        wait_s = FIRST_WAIT_S
        for attempt in range(1, RETRIES + 1):
            try:
                self._download_once(name, target, sha256, size)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{self.address(name)} does not exist") from error
            except UserError:
                raise
            except Exception as error:  # fsspec's file systems raise whatever their own libraries do
                if attempt == RETRIES:
                    raise OSError(
                        f"{self.address(name)} could not be downloaded in {RETRIES} attempts: {error}"
                    ) from error
                log.warning(
                    "%s could not be downloaded (%s), trying again in %.1f s", self.address(name), error, wait_s
                )
                time.sleep(wait_s)
                wait_s *= 2
            else:
                return

    def _download_once(self, name: str, target: Path, sha256: str | None, size: int | None) -> None:
        file_system, remote = _file_system(self.address(name))
        with created(self.cache, target, size), scratch(self.cache, _PART, size) as folder:
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
        total = sum(there for _, there, _ in files)
        for _, there, path in sorted(files):
            if total + size <= self.limit_bytes:
                return
            try:
                path.unlink(missing_ok=True)
            except PermissionError:  # on Windows, a shard that is open stays
                continue
            total -= there


def _default_cache(address: str) -> Path:
    caches = os.environ.get("GTZAN_STREAM_CACHE") or Path.home() / ".cache" / "gtzan-stream"
    return Path(caches) / hashlib.sha256(address.encode()).hexdigest()[:16]


def _default_limit() -> int:
    text = os.environ.get("GTZAN_STREAM_CACHE_GB", str(DEFAULT_CACHE_GB))
    with suppress(ValueError):
        if 0 < (gigabytes := float(text)) < 1e9:
            return int(gigabytes * 1e9)
    raise UserError(f"GTZAN_STREAM_CACHE_GB is the size of the cache in gigabytes, such as 20; got {text!r}")


def _file_system(address: str) -> tuple[Any, str]:
    import fsspec

    try:
        return fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        in_extra = isinstance(error, ImportError) and address.startswith(_EXTRA)
        remedy = "; it needs the extra remote: pip install 'gtzan-stream[remote]'" if in_extra else ""
        raise UserError(f"{address} cannot be read: {error}{remedy}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
