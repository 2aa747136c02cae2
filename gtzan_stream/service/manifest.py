"""The manifest of a service's shards, for trainers that do not have the shards."""

import hashlib
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gtzan_stream.errors import UserError
from gtzan_stream.service.protocol import Refused, ServiceError
from gtzan_stream.service.servers import Servers
from gtzan_stream.store.folder import File, Folder
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.tables import MANIFEST, SAMPLES, SPLITS

_START_S = 15.0  # servers may be started at the same time as trainers
_latest: dict[str, Manifest] = {}  # the last manifest that was downloaded, by its digest: a run opens it several times


class ServedFolder(Folder):
    """A temporary folder with the manifest and the tables of shards that only the servers have.

    Parameters
    ----------
    address : str
        Of a server, for messages.
    """

    def __init__(self, address: str) -> None:
        folder = tempfile.mkdtemp(prefix="gtzan-stream-served-")
        weakref.finalize(self, _remove, folder, os.getpid())
        super().__init__(Path(folder))
        self.root = self._address = address

    def register_files(self, files: Sequence[File], *, check_sizes: bool = True) -> None:
        """Check the tables, and leave out the shards."""
        tables = [file for file in files if file["name"] in (SAMPLES, SPLITS)]
        super().register_files(tables, check_sizes=check_sizes)
        for table in tables:
            if hashlib.sha256(self.path(table["name"]).read_bytes()).hexdigest() != table["sha256"]:
                raise UserError(f"{self.address(table['name'])} is not the table that the manifest lists: start again")

    def path(self, name: str) -> Path:
        """Return the path of a table. Raises UserError for a shard."""
        if name not in (MANIFEST, SAMPLES, SPLITS):
            raise UserError(
                f"{self.address(name)} is only on the servers: to read clips here too, copy the shards and give shards="
            )
        return super().path(name)

    def address(self, name: str = "") -> str:
        """Return the server's address and a file's name, for messages."""
        return f"{self._address}/{name}" if name else self._address


def _remove(folder: str, process: int) -> None:
    """Remove a folder in the process that made it, and not when a process ends that was forked from it."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def served_manifest(servers: Servers) -> Manifest:
    """Connect to the servers, and download the manifest and the tables of their shards, unless this process has them.

    Raises
    ------
    UserError
        If no server answers or sends the manifest within 15 s, or it is damaged.
    """
    latest = time.monotonic() + _START_S
    _connect(servers, latest)
    if manifest := _latest.get(str(servers.terms.manifest_digest)):
        return manifest
    folder = ServedFolder(servers.terms.clips)
    for name in (MANIFEST, SAMPLES, SPLITS):
        folder.path(name).write_bytes(_file(servers, name, latest))
    manifest = Manifest.open(folder)
    if manifest.digest != servers.terms.manifest_digest:
        raise UserError(
            f"{folder.address(MANIFEST)} is not the manifest that the server named: start the servers again"
        )
    _latest.clear()
    _latest[manifest.digest] = manifest
    return manifest


def _connect(servers: Servers, latest: float) -> None:
    """Wait until a server works. Raises UserError if none does so at the time `latest`."""
    if problem := servers.connect(latest - time.monotonic()):
        raise UserError(
            f"no server of the feature service answers ({problem}): start it with `gtzan-stream serve SHARDS`, or "
            "correct the address"
        )


def _file(servers: Servers, name: str, latest: float) -> bytes:
    """Download a file of the manifest from any server, also from one that is started again meanwhile."""
    while True:
        try:
            return servers.file(name)
        except ServiceError as error:
            if isinstance(error, Refused) or time.monotonic() > latest:
                raise UserError(f"the manifest could not be downloaded ({error}): start the servers again") from None
        servers.wait()
        _connect(servers, latest)


def download_manifest(addresses: Any, *, keys: str | Path | None = None) -> Manifest:
    """Download the manifest of the shards at these servers; see `served_manifest`."""
    servers = Servers(addresses, keys=keys)
    try:
        return served_manifest(servers)
    finally:
        servers.close()
