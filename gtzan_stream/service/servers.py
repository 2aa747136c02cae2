"""Servers: the servers of a service as a client sees them, and which of them to ask for which batch.

Batch n of a stream is asked for at live server n modulo the number of live servers, so all trainers ask the same server
for the same batch, which makes it once. A server that has failed is left out for a second, then two, up to 30.
"""

import logging
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from gtzan_stream import __version__
from gtzan_stream.errors import UserError
from gtzan_stream.service.addresses import endpoints, replace_wildcard
from gtzan_stream.service.link import Link
from gtzan_stream.service.protocol import VERSION, Header, NoSuchStream, Refused, ServiceError
from gtzan_stream.service.stream import Stream
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.threads import fork_safe_lock, program_is_ending, thread_pool

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LAST_PAUSE_S = 1.0, 30.0
_RETRY_S = 0.25
AHEAD = 4
"""Batches that a loader asks for before they are needed."""


@dataclass
class ServerState:
    """What a client knows of a server.

    Attributes
    ----------
    address : str
    probes : dict
        Digest of the probe batch of each stream that was opened there.
    paused_until : float
        Do not ask a failed server before this time.
    pause_s : float
        Length of the last pause; 0 if the server works.
    """

    address: str
    probes: dict[str, str | None] = field(default_factory=dict)
    paused_until: float = 0.0
    pause_s: float = 0.0


class _Links:
    """The connections of a thread, closed when the thread ends. A forked process gets new ones."""

    def __init__(self) -> None:
        self.pid, self.links, self.context = os.getpid(), dict[str, Link](), zmq.Context()

    def __del__(self) -> None:
        if self.pid == os.getpid():  # a forked process has its sockets from its parent
            for link in self.links.values():
                link.close()
            self.context.destroy(0)  # `term` would wait for a socket that is still open


class Servers:
    """The servers of a service. The methods may be called from any thread; each thread has its own connections.

    Parameters
    ----------
    addresses : str or sequence of str
        Of any servers of the service; they know the others.
    keys : Path, optional
    strict : bool
        Refuse servers that compute other bits than the first; else warn.

    Attributes
    ----------
    executor : Executor
        `AHEAD` threads, for asking for batches before they are needed.
    description : dict
        What the first server that answered says of itself; empty before.
    first_address : str
        Its address; before, the first that was given.
    """

    def __init__(self, addresses: Any, *, keys: str | Path | None = None, strict: bool = False) -> None:
        self._states = {address: ServerState(address) for address in endpoints(addresses)}
        self._keys, self.strict = None if keys is None else Path(keys), strict
        self._probes: dict[str, tuple[str, str | None]] = {}  # of each stream, from the first server: address, digest
        self._lock, self._local, self.closed = fork_safe_lock(), threading.local(), False
        self.description: Header = {}
        self.first_address = next(iter(self._states))
        self._client = f"{socket.gethostname()}:{os.getpid()}"
        self.executor = thread_pool(AHEAD, "gtzan-stream-client")

    def close(self) -> None:
        """End the threads; requests that wait raise UserError."""
        self.closed = True
        self.executor.shutdown(wait=False, cancel_futures=True)

    # --- the first contact --------------------------------------------------------------------------------------------

    def connect(self, wait_s: float) -> str | None:
        """Ask the servers what they are, until one answers. Return None, or why none did.

        Raises
        ------
        UserError
            If they speak another version of the protocol.
        """
        latest = time.monotonic() + wait_s
        while True:
            reasons = []
            for state in list(self._states.values()):
                try:
                    self._greet(state)
                    return None
                except ServiceError as error:
                    self._drop_link(state)
                    reasons.append(f"{state.address}: {error}")
            if time.monotonic() > latest:
                return "; ".join(reasons)
            self.wait()

    def _greet(self, state: ServerState) -> None:
        """Ask a server what it is, and add the other servers that it knows."""
        description, _ = self._link(state).ask({"ask": "hello"}, self._check_open)
        if description.get("protocol") != VERSION:
            raise UserError(
                f"the server at {state.address} has version {description.get('version')} of gtzan-stream, this is "
                f"{__version__}, and they do not understand each other: install the same version"
            )
        addresses = description.get("addresses")
        if not isinstance(addresses, list) or not all(isinstance(address, str) for address in addresses):
            raise ServiceError("it does not say which servers there are")
        with self._lock:
            if not self.description:
                self.description, self.first_address = description, state.address
            for address in endpoints([replace_wildcard(address, state.address) for address in addresses]):
                self._states.setdefault(address, ServerState(address))

    def file(self, name: str) -> bytes:
        """Download a file of the manifest from a server that is connected."""
        content = bytearray()
        for state in self._in_order(0):
            try:
                while True:
                    reply, frames = self._link(state).ask({"ask": "file", "name": name, "offset": len(content)})
                    content += frames[0]
                    if not len(frames[0]) or len(content) >= reply["size"]:
                        return bytes(content)
            except (ServiceError, KeyError, IndexError, TypeError) as error:
                self.failed(state, error)
        raise ServiceError("no server could send the manifest")

    # --- batches ------------------------------------------------------------------------------------------------------

    def get(self, stream: Stream, number: int, header: Header) -> tuple[Header, list[Any], "ServerState"] | None:
        """Ask for a batch; return None if no server can be reached.

        Raises
        ------
        Refused
            If the servers that can be reached say that they cannot make the batch.
        """
        refused: Refused | None = None
        for state in self._in_order(number):
            try:
                return *self._get(state, stream, header), state
            except Refused as error:  # another server may be able to read the shard
                refused = error
            except ServiceError as error:
                self.failed(state, error)
        if refused is not None:
            raise refused
        return None

    def _get(self, state: ServerState, stream: Stream, header: Header) -> tuple[Header, list[Any]]:
        if stream.digest not in state.probes:
            self._open(state, stream)
        try:
            reply = self._link(state).ask(header, self._check_open)
        except NoSuchStream:  # the server was restarted
            self._open(state, stream)
            reply = self._link(state).ask(header, self._check_open)
        if state.pause_s:
            _log.warning("the server at %s works again", state.address)
            state.pause_s = 0.0
        return reply

    def _open(self, state: ServerState, stream: Stream) -> None:
        """Open a stream at a server, and compare its probe batch with that of the first server."""
        self._greet(state)
        reply, _ = self._link(state).ask({"ask": "open", "stream": stream.to_dict()}, self._check_open)
        probe = reply.get("probe")
        with self._lock:
            first, expected = self._probes.setdefault(stream.digest, (state.address, probe))
            is_new = state.probes.get(stream.digest) != probe
            state.probes[stream.digest] = probe
        if None not in (probe, expected) and probe != expected and is_new:
            message = (
                f"the server at {state.address} computes other bits than the one at {first}: they have different "
                "processors, devices or libraries"
            )
            if self.strict:
                raise UserError(f"{message}; use servers of one kind, or leave out strict")
            _log.warning("%s", message)

    def probe_of(self, stream: Stream) -> str | None:
        """Return the digest of a stream's probe batch at the first server that opened it."""
        return self._probes.get(stream.digest, ("", None))[1]

    def _in_order(self, number: int) -> list[ServerState]:
        """Return the servers that may be asked for batch `number`, in the order to ask them."""
        now = time.monotonic()
        with self._lock:
            live = sorted(state.address for state in self._states.values() if state.paused_until <= now)
            first = number % max(len(live), 1)
            return [self._states[address] for address in live[first:] + live[:first]]

    def wait(self) -> None:
        """Wait a moment, and then ask all servers again, also those that have just failed."""
        self._check_open()
        time.sleep(_RETRY_S)
        with self._lock:
            for state in self._states.values():
                state.paused_until = 0.0

    def check_manifest(self, manifest: Manifest) -> None:
        """Raise UserError if the servers have other clips than those of `manifest`."""
        if self.description and self.description.get("manifest_digest") != manifest.digest:
            raise UserError(
                f"the server at {self.first_address} serves other clips than those of {manifest.folder.address()}: "
                "serve the same shards, or leave out shards="
            )

    def failed(self, state: ServerState, error: Exception) -> None:
        """Leave a server out for a while."""
        self._drop_link(state)
        with self._lock:
            if not state.pause_s:
                _log.warning("the server at %s failed (%s)", state.address, error)
            state.pause_s = min(max(2 * state.pause_s, _FIRST_PAUSE_S), _LAST_PAUSE_S)
            state.paused_until = time.monotonic() + state.pause_s

    # --- connections --------------------------------------------------------------------------------------------------

    def _link(self, state: ServerState) -> Link:
        """Return this thread's connection to a server."""
        links = self._links()
        if state.address not in links.links:
            links.links[state.address] = Link(links.context, state.address, client=self._client, keys=self._keys)
        return links.links[state.address]

    def _drop_link(self, state: ServerState) -> None:
        """Close this thread's connection to a server."""
        link = self._links().links.pop(state.address, None)
        if link is not None:
            link.close()

    def _links(self) -> "_Links":
        links: _Links | None = getattr(self._local, "links", None)
        if links is None or links.pid != os.getpid():
            links = self._local.links = _Links()
        return links

    def _check_open(self) -> None:
        """Raise UserError if the loader was closed or the program ends."""
        if self.closed or program_is_ending():
            raise UserError("this loader is closed: make another one")
