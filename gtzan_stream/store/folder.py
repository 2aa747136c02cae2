"""Where the files of a set are: a folder of this machine's."""

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

File = dict[str, Any]
"""Name, size in bytes and sha256 of a shard or table, as a manifest lists it."""


class Folder:
    """Where a manifest's files are: a folder of this machine's.

    Files that an interrupted pack had not yet moved are found where they are.
    """

    def __init__(self, root: Path) -> None:
        self.root: Path | str = root
        self._path = root
        self._sha256 = ""  # of the manifest.json that was read
        self._stamp: tuple[int, ...] | None = None  # of the file that was found to have this content

    def manifest_path(self) -> Path:
        """Path of manifest.json. Raises UserError that says how to fill a folder which has none."""
        path = self.path(MANIFEST)
        if path.is_file():
            return path
        root, state = self._path, "holds no packed shards" if self._path.is_dir() else "does not exist"
        raise UserError(
            f"{root} {state}: fill it with `gtzan-stream demo {root}` (a synthesised set)"
            f" or `gtzan-stream pack MUSIC {root}` (a folder of your own);"
            f" for shards that somebody else packed there is `gtzan-stream index {root}`"
        )

    def record_manifest(self, manifest: bytes) -> None:
        """Note the content of manifest.json, which `check_unchanged` expects from then on."""
        self._sha256, self._stamp = hashlib.sha256(manifest).hexdigest(), None

    def check_unchanged(self) -> None:
        """Raise UserError if the folder holds another set than the one that was opened.

        To be called after a file was opened by its name: a new set counts before any of its files gets the name of an
        old one, so that the file is known to be of the old set. Files that are open stay those of the old set.
        """
        for path in (self._path / INCOMING / MANIFEST, self._path / MANIFEST):
            with suppress(FileNotFoundError):
                status = path.stat()
                stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
                if stamp != self._stamp and hashlib.sha256(path.read_bytes()).hexdigest() != self._sha256:
                    raise UserError(
                        f"the set in {self._path} was packed again while it was in use: make another loader"
                    )
                self._stamp = stamp
                return

    def register_files(self, files: Sequence[File], *, check_sizes: bool = True) -> None:
        """Note the files of the set. Raises UserError if one is missing, or of another size than it should be."""
        sizes: dict[str, int] = {}  # 20,000 for a million clips, so the folder is listed once
        for folder in (self._path, self._path / INCOMING):
            with os.scandir(folder) if folder.is_dir() else nullcontext(()) as entries:
                sizes |= {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        remedy = "copy or pack the set again"
        if missing := {file["name"] for file in files} - sizes.keys():
            raise UserError(f"{self._path / min(missing)} is missing, though {MANIFEST} lists it: {remedy}")
        wrong = [file for file in files if sizes[file["name"]] != file["size"]] if check_sizes else []
        if wrong:
            name, size = wrong[0]["name"], wrong[0]["size"]
            more = f", and {len(wrong) - 1} more files differ" if wrong[1:] else ""
            raise UserError(
                f"{self._path / name} has {sizes[name]} bytes, {MANIFEST} says {size}{more}: {remedy}, or see what is "
                f"left with `gtzan-stream verify {self._path}`"
            )

    def path(self, name: str) -> Path:
        """Path of a file on this machine."""
        incoming = self._path / INCOMING / name
        return incoming if incoming.exists() else self._path / name

    def prefetch(self, names: Iterable[str]) -> list[Future[Any]]:
        """Begin to bring files here that will be needed soon, and say what is under way: nothing, as these are here."""
        return []

    def check_cache_holds(self, n_shards: int | None) -> None:
        """Raise UserError if so many shards (all for None) cannot be here at a time: these are."""

    def address(self, name: str = "") -> str:
        """The folder or a file in it, for messages."""
        return str(self._path / name)
