"""ServerActor: a server of the feature service in a process that Ray starts. Ray itself is not imported here."""

import logging
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtzan_stream.errors import UserError

if TYPE_CHECKING:  # the process that places servers needs no torch
    from gtzan_stream.service.server import Server

_LEASE_S = 600.0
_LOOK_S = 5.0


class ServerActor:
    """A server that starts when it is first called. Called for the last time, it ends 10 minutes later.

    Ray ends it with the command that has placed it, and a minute after the head of the cluster was lost. The 10 minutes
    are for a server that Ray has left behind.

    Parameters
    ----------
    shards : str
    keys : dict of str to str
        Contents of the files of keys that a server reads; see `gtzan_stream.service.keys.server_files`.
    verbose : bool
        Write what trainers ask for to Ray's logs.
    settings
        Others of `Server`.
    """

    def __init__(self, *, shards: str, keys: dict[str, str], verbose: bool, **settings: Any) -> None:
        self._shards, self._keys, self._settings = shards, keys, settings
        self._server: "Server | None" = None
        self._called = time.monotonic()
        logging.getLogger("gtzan_stream").setLevel(logging.INFO if verbose else logging.WARNING)

    def serve(self, listen: str, addresses: list[str]) -> dict[str, Any]:
        """Start the server unless it runs, and tell it the addresses of all servers.

        Parameters
        ----------
        listen : str
            Where to listen. If that port is not free, it becomes another one of the same host.
        addresses : list of str

        Returns
        -------
        dict
            "address", "pid", and what is served: "dataset", "clips", "device".

        Raises
        ------
        UserError, OSError
            If the shards cannot be opened here, or the server cannot start.
        """
        self._called = time.monotonic()
        if self._server is None:
            self._server = self._start(listen)
        server = self._server
        server.addresses = addresses or [server.address]
        return {
            "address": server.address,
            "pid": os.getpid(),
            "dataset": server.manifest.dataset,
            "clips": len(server.manifest),
            "device": str(server.device),
        }

    def _start(self, listen: str) -> "Server":
        from gtzan_stream.service.server import Server
        from gtzan_stream.store.manifest import Manifest

        manifest = Manifest.open(self._shards)
        with tempfile.TemporaryDirectory(prefix="gtzan-stream-keys-") as folder:  # only the user can read it
            for name, content in self._keys.items():
                Path(folder, name).touch(0o600)
                Path(folder, name).write_text(content, encoding="utf-8")
            settings = {**self._settings, "keys": Path(folder) if self._keys else None}
            try:
                server = Server(manifest, listen, **settings)
            except UserError:
                server = Server(manifest, f"{listen.rpartition(':')[0]}:*", **settings)
        running = threading.Thread(target=self._run, args=(server,), daemon=True)
        running.start()
        threading.Thread(target=self._stop_when_forgotten, args=(server, running), daemon=True).start()
        return server

    def _run(self, server: "Server") -> None:
        """Run the server. When it ends, so does this process, and Ray restarts it if the cluster is there."""
        try:
            server.run()
        finally:
            os._exit(1)

    def _stop_when_forgotten(self, server: "Server", running: threading.Thread) -> None:
        while running.is_alive() and time.monotonic() - self._called < _LEASE_S:
            time.sleep(_LOOK_S)
        if running.is_alive():
            server.stop()
