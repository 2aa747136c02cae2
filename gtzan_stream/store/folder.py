"""Locate the files of a set of shards in a local folder, and notice when another set has replaced them."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from gtzan_stream.errors import UserError
from gtzan_stream.store.swap import INCOMING
from gtzan_stream.store.tables import MANIFEST
from gtzan_stream.words import count

File = dict[str, Any]
"""Name, size in bytes and sha256 of a shard or table, as a manifest lists it."""


class Folder:
    """The files of a set of shards, in a local folder.

    While `pack` puts a new set in place, some files are still in the folder `INCOMING` (see swap.py): each file is
    looked up there first.
    """

    def __init__(self, root: Path) -> None:
        self.root: Path | str = root
        self._path = root
        self._manifest_sha256 = ""  # checksum of the manifest.json that was opened
        self._stamp: tuple[int, ...] | None = None  # mtime, inode and size of a manifest.json with that checksum

    def manifest_path(self) -> Path:
        """Return the path of manifest.json. Raises UserError that says how to fill a folder without one."""
        path = self.path(MANIFEST)
        if path.is_file():
            return path
        root, state = self._path, "holds no packed shards" if self._path.is_dir() else "does not exist"
        raise UserError(
            f"{root} {state}: fill it with `gtzan-stream demo {root}` (a synthesised set)"
            f" or `gtzan-stream pack MUSIC {root}` (a folder of your own);"
            f" for shards that another program packed, run `gtzan-stream index {root}`"
        )

    def record_manifest(self, content: bytes) -> None:
        """Record the content of manifest.json, for `check_unchanged` to compare with."""
        self._manifest_sha256, self._stamp = hashlib.sha256(content).hexdigest(), None

    def check_unchanged(self) -> None:
        """Raise UserError if the folder now holds another set than the one that was opened.

        Call it after opening a file by its name, not before. A new set's manifest is in place before any of its files
        takes the name of an old file. So if the manifest is still the old one after a file was opened, the open file
        belongs to the old set, even if another file takes its name later. A folder without any manifest passes.
        """
        for path in (self._path / INCOMING / MANIFEST, self._path / MANIFEST):
            with suppress(FileNotFoundError):
                status = path.stat()
                stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
                if stamp != self._stamp and hashlib.sha256(path.read_bytes()).hexdigest() != self._manifest_sha256:
                    raise UserError(
                        f"the set in {self._path} was packed again while it was in use: create a new loader"
                    )
                self._stamp = stamp
                return

    def register_files(self, files: Sequence[File], *, check_sizes: bool = True) -> None:
        """Check that the files of the set exist and have their sizes. Raises UserError if not."""
        sizes: dict[str, int] = {}  # list the folder once: a million clips have 20,000 shards
        for folder in (self._path, self._path / INCOMING):
            with os.scandir(folder) if folder.is_dir() else nullcontext(()) as entries:
                sizes |= {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        remedy = "copy or pack the set again"
        if missing := {file["name"] for file in files} - sizes.keys():
            raise UserError(f"{self._path / min(missing)} is missing, though {MANIFEST} lists it: {remedy}")
        wrong = [file for file in files if sizes[file["name"]] != file["size"]] if check_sizes else []
        if wrong:
            name, size = wrong[0]["name"], wrong[0]["size"]
            more = f" ({count(len(wrong) - 1, 'more file')} with a wrong size)" if wrong[1:] else ""
            raise UserError(
                f"{self._path / name} has {sizes[name]} bytes, {MANIFEST} says {size}{more}: {remedy}, or list the "
                f"damage with `gtzan-stream verify {self._path}`"
            )

    def path(self, name: str) -> Path:
        """Return the path of a file on this machine."""
        incoming = self._path / INCOMING / name
        return incoming if incoming.exists() else self._path / name

    def prefetch(self, names: Iterable[str]) -> list[Future[Any]]:
        """Return an empty list: local files need no download."""
        return []

    def check_cache_holds(self, n_shards: int) -> None:
        """Do nothing: local shards need no cache."""

    def cache_state(self) -> dict[str, Any] | None:
        """Return None: a local set needs no cache."""
        return None

    def address(self, name: str = "") -> str:
        """Return the path of the folder or of a file in it, for messages."""
        return str(self._path / name)
