"""Servers: the servers of a service as a client sees them, and which of them to ask for which batch.

Batch n of a stream is asked for at live server n modulo the number of live servers, so all trainers ask the same server
for the same batch, which makes it once. Servers are in the order of the names that their processes gave themselves, so
it is the same for all trainers, whichever addresses they were given.
"""

import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.service.addresses import endpoints
from gtzan_stream.service.protocol import Header, Refused, ServiceError
from gtzan_stream.service.remote_server import RemoteServer
from gtzan_stream.service.stream import Stream
from gtzan_stream.service.terms import Terms
from gtzan_stream.threads import fork_safe_lock
from gtzan_stream.words import first_few

T = TypeVar("T")
_log = logging.getLogger(__name__)
_RETRY_S = 0.1
_CONTACT_S = 0.01  # between looks at whether a server has been contacted
_IN_TURN_S = 1.0  # how long one server is waited for before the next is contacted, too
_MAX_FILE_BYTES = 1 << 32


class Servers:
    """The servers of a service. The methods may be called from any thread.

    Parameters
    ----------
    addresses : str or sequence of str
        Of any servers of the service; they know the others.
    keys : Path, optional
    strict : bool
        Do not use servers that compute other bits than the first; else warn.

    Attributes
    ----------
    terms : Terms
    """

    def __init__(self, addresses: Any, *, keys: str | Path | None = None, strict: bool = False) -> None:
        keys = None if keys is None else Path(keys)
        self.terms = Terms(f"{socket.gethostname()}:{os.getpid()}", endpoints(addresses), keys=keys, strict=strict)
        self._servers: dict[str, RemoteServer] = {}
        self._said = set[str]()
        self._lock = fork_safe_lock()

    def close(self) -> None:
        """Close the connections; requests that wait raise UserError."""
        self.terms.closed = True
        for server in list(self._servers.values()):
            server.close()

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            self.close()

    # --- batches ------------------------------------------------------------------------------------------------------

    def get(self, stream: Stream, number: int, header: Header, read: Callable[[Header, list[Any]], T]) -> T | None:
        """Ask for batch `number` of a stream, and return what `read` makes of the reply; None if no server works.

        Raises
        ------
        Refused
            If the servers that work say that they cannot make the batch.
        """
        refused: Refused | None = None
        for server in self.ready(stream, number):
            if not server.health.is_live:
                continue  # it has failed meanwhile
            try:
                return server.get(stream, header, read)
            except Refused as error:  # another server may be able to read the shard
                refused = error
            except ServiceError:
                continue  # it has been logged
        if refused is not None:
            raise refused
        return None

    def ready(self, stream: Stream, number: int) -> list[RemoteServer]:
        """Return the servers that can be asked for batch `number`, in the order to ask them.

        Raises Refused if none can, because all that work have refused the stream.
        """
        while True:
            self._contact(stream)  # again, because a server may have been contacted for another stream meanwhile
            servers = list(self._servers.values())
            ready = [server for server in servers if server.health.is_live and stream.digest in server.opened]
            if ready or not any(server.is_contacted and server.health.error is None for server in servers):
                break
            self.terms.check_open()
            time.sleep(_CONTACT_S)
        if not ready and (refusal := self._refusal(stream.digest)):
            raise Refused(refusal)
        live = sorted({server.instance: server for server in ready}.items())  # one process may have several addresses
        first = number % max(len(live), 1)
        return [server for _, server in live[first:] + live[:first]]

    def _refusal(self, digest: str = "") -> UserError | BadSample | None:
        """Return why servers cannot be used, if all of them have refused; None if one may work yet."""
        told = [server.health.refusals for server in self._servers.values()]
        refusals = [each.get(digest) or each.get("") for each in told]
        return refusals[0] if all(refusals) else None

    def _contact(self, stream: Stream | None, *, now: bool = False) -> None:
        """Begin to contact the servers that are not ready; see `RemoteServer.contact_if_due`."""
        for server in self._all():
            server.contact_if_due(stream, now=now)

    def _all(self) -> list[RemoteServer]:
        """Return all servers, those that the user has named first."""
        with self._lock:
            for address in self.terms.addresses[len(self._servers) :]:  # servers have named more
                self._servers[address] = RemoteServer(address, self.terms)
        return list(self._servers.values())

    def wait(self, stream: Stream | None = None) -> None:
        """Wait a moment, and contact all servers again, also those that have just failed."""
        self.terms.check_open()
        time.sleep(_RETRY_S)
        self._contact(stream, now=True)

    def say_once(self, message: str) -> None:
        """Log a warning, unless it was logged for these servers before."""
        with self._lock:
            is_news = message not in self._said
            self._said.add(message)
        if is_news:
            _log.warning("%s", message)

    def problem(self) -> str:
        """Return why each server cannot be used."""
        reasons = [
            f"{server.address}: {server.health.refusals.get('') or server.health.error or 'it does not answer'}"
            for server in self._servers.values()
            if server.health.error or not server.health.is_live
        ]
        return first_few(reasons)

    # --- the first contact --------------------------------------------------------------------------------------------

    def connect(self, wait_s: float) -> str | None:
        """Contact the servers, until one answers. Return None, or why none did.

        The clips are those of the first server in the list that answers within a second, unless they are known already.

        Raises
        ------
        UserError
            If all refuse: they speak another version of the protocol or have other clips, for instance.
        """
        latest = time.monotonic() + wait_s
        for server in self._all():
            server.contact_if_due(None)
            until = time.monotonic() + _IN_TURN_S
            while self.terms.manifest_digest is None and server.is_contacted and time.monotonic() < until:
                self.terms.check_open()
                time.sleep(_CONTACT_S)
        while not any(server.health.is_live for server in self._servers.values()):
            if not any(server.is_contacted for server in self._servers.values()):
                if refusal := self._refusal():
                    raise refusal
                if time.monotonic() > latest:
                    return self.problem()
                self.wait()
            self.terms.check_open()
            time.sleep(_CONTACT_S)
        return None

    def file(self, name: str) -> bytes:
        """Download a file of the manifest.

        Raises
        ------
        Refused
            If a server that works cannot read it, and no other sends it.
        ServiceError
            If no server sends it.
        """
        problem = ServiceError("no server works")
        for server in list(self._servers.values()):
            try:
                if server.health.is_live:
                    return _download(server, name)
            except ServiceError as error:
                problem = error
        raise problem


def _download(server: RemoteServer, name: str) -> bytes:
    """Download a file of the manifest from a server."""
    content, size = bytearray(), None
    while size is None or len(content) < size:
        reply, frames = server.ask({"ask": "file", "name": name, "offset": len(content)})
        size = reply.get("size")
        if not isinstance(size, int) or size > _MAX_FILE_BYTES or len(frames) != 1 or not len(frames[0]):
            raise ServiceError(f"{server.address} sends no such file")
        content += frames[0]
    return bytes(content)
