"""Link: one connection to a server. It sends requests, and waits for their replies."""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from gtzan_stream.service import keys as curve
from gtzan_stream.service.protocol import (
    MAX_OPEN_REQUESTS,
    MAX_REPLY_BYTES,
    Header,
    ServiceError,
    decode,
    encode,
    raise_error,
)

CONNECT_S = 2.0
"""How long to wait for a connection."""
PING_AFTER_S = 0.5
"""How long to wait for a reply before the server is asked whether it is alive."""
PONG_S = 2.0
"""How long a living server takes at most to say so."""
STUCK_S = 600.0
"""How long a server may be alive, and finish no request of any client: it may be downloading large shards."""
_POLL_MS = 100
_REFUSED = (
    zmq.Event.HANDSHAKE_FAILED_AUTH,
    zmq.Event.HANDSHAKE_FAILED_PROTOCOL,
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL,
)
_MAX_SOCKETS = 1 << 14  # four for each link; by default a process could have 1,023
_LOST = zmq.Event.DISCONNECTED | zmq.Event.CLOSED | _REFUSED[0] | _REFUSED[1] | _REFUSED[2]
_contexts: dict[int, "zmq.Context[zmq.Socket[bytes]]"] = {}


class LinkLost(ServiceError):
    """The server cannot be reached, has ended, or hangs."""


class LinkRefused(LinkLost):
    """The server needs keys, or other keys, or none."""


def _context() -> "zmq.Context[zmq.Socket[bytes]]":
    """Return the context of this process: a forked one cannot use its parent's."""
    pid = os.getpid()
    if pid not in _contexts:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        context.set(zmq.MAX_SOCKETS, _MAX_SOCKETS)
        return _contexts.setdefault(pid, context)
    return _contexts[pid]


class Link:
    """A connection to a server, for one thread at a time.

    It never connects again when the connection has ended, because another server may listen there then.

    Parameters
    ----------
    address : str
        Of the server, as ZeroMQ writes it, with no name to be looked up: ZeroMQ would do that in the thread that serves
        all connections.
    client : str
        Name of this client, for the server's logs.
    keys : Path, optional
        Folder with the keys of the service.
    keep_waiting : callable
        Called about ten times a second while waiting; an exception that it raises ends the wait.

    Raises
    ------
    LinkLost
        If there is no connection within `CONNECT_S`, or this process has too many open files; LinkRefused if the keys
        are the reason.
    """

    def __init__(
        self, address: str, *, client: str, keys: Path | None = None, keep_waiting: Callable[[], object] = lambda: None
    ) -> None:
        self._address, self._client, self._keys = address, client, keys
        self._ids, self._is_connected = itertools.count(1), False
        self._open = set[bytes]()  # requests without a reply
        self._replies = dict[bytes, list[zmq.Frame]]()  # that were not taken yet
        self._sockets = list[zmq.Socket[bytes]]()  # to close
        self._pings: zmq.Socket[bytes] | None = None
        self._poller = zmq.Poller()
        latest = time.monotonic() + CONNECT_S
        try:
            self._socket = self._new_socket()
            self._monitor = self._socket.get_monitor_socket(_LOST | zmq.Event.HANDSHAKE_SUCCEEDED)
            self._sockets.append(self._monitor)
            self._poller.register(self._socket, zmq.POLLIN)
            self._poller.register(self._monitor, zmq.POLLIN)
            self._socket.connect(address)
            while not self._is_connected:
                if time.monotonic() > latest:
                    raise LinkLost(f"no connection in {CONNECT_S:g} s")
                keep_waiting()
                if self._monitor.poll(_POLL_MS):
                    self._watch()
        except BaseException as error:
            self.close()
            if isinstance(error, zmq.ZMQError):
                raise LinkLost(str(error)) from None
            raise

    def ask(self, header: Header, keep_waiting: Callable[[], object] = lambda: None) -> tuple[Header, list[Any]]:
        """Send a request and return its reply; see `receive`."""
        return self.receive(self.send(header), keep_waiting)

    def send(self, header: Header) -> bytes:
        """Send a request, and return its id. Raises LinkLost if the connection has ended."""
        request = self._new_id()
        self._open.add(request)  # first, so that a link with half a message is not idle if Ctrl-C interrupts this
        self._send(self._socket, request, header)
        return request

    @property
    def is_idle(self) -> bool:
        """Whether the reply to every request was taken."""
        return not self._open and not self._replies

    def receive(self, request: bytes, keep_waiting: Callable[[], object] = lambda: None) -> tuple[Header, list[Any]]:
        """Return the header and the further frames of the reply to a request. Replies may come in any order.

        Raises
        ------
        LinkLost
            If the server has ended, does not answer pings, or finishes nothing. The link cannot be used any more.
        ServiceError
            If a reply is damaged.
        """
        self._take(request)
        if request not in self._replies:
            self._wait(request, keep_waiting)
        frames = self._replies.pop(request)
        return decode(frames[0].buffer), [frame.buffer for frame in frames[1:]]

    def _take(self, request: bytes) -> None:
        """Take the replies that have come, up to that to a request."""
        with suppress(zmq.Again):
            while request not in self._replies:
                got, *frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
                if got.bytes not in self._open or not frames:
                    raise ServiceError("a message is not a reply that was expected")
                self._open.remove(got.bytes)
                self._replies[got.bytes] = frames

    def _wait(self, request: bytes, keep_waiting: Callable[[], object]) -> None:
        """Wait for the reply to a request."""
        is_pinged = False
        done, progress = None, time.monotonic()  # what the server has finished, and when it last finished something
        asked = progress  # when the wait began, or a ping was sent or answered
        while True:
            ready = dict(self._poller.poll(_POLL_MS))
            if self._socket in ready:
                self._take(request)
                if request in self._replies:
                    return
            if self._monitor in ready:
                self._watch()
            keep_waiting()
            now = time.monotonic()
            if self._pings in ready and self._pings is not None:
                before, done = done, decode(self._pings.recv_multipart()[-1]).get("done")
                progress = now if done != before else progress
                is_pinged, asked = False, now
            if now - progress > STUCK_S:
                raise LinkLost(f"it is alive, but has not finished anything in {STUCK_S:g} s")
            if is_pinged and now - asked > PONG_S:
                raise LinkLost(f"it does not answer, not even in {PONG_S:g} s")
            if not is_pinged and now - asked > PING_AFTER_S:
                self._ping()
                is_pinged, asked = True, now

    def _ping(self) -> None:
        """Ask whether the server is alive, on another connection, where the answer is not behind a large reply."""
        if self._pings is None:
            self._pings = self._new_socket()
            self._pings.connect(self._address)
            self._poller.register(self._pings, zmq.POLLIN)
        self._send(self._pings, self._new_id(), {"ask": "ping"})

    def _new_socket(self) -> "zmq.Socket[bytes]":
        try:
            new = _context().socket(zmq.DEALER)
        except zmq.ZMQError as error:  # too many open files
            raise LinkLost(str(error)) from None
        self._sockets.append(new)
        new.set(zmq.LINGER, 0)
        new.set(zmq.IPV6, "[" in self._address)
        new.set(zmq.RECONNECT_IVL, -1)
        new.set(zmq.MAXMSGSIZE, MAX_REPLY_BYTES)
        new.set(zmq.RCVHWM, MAX_OPEN_REQUESTS)  # each has one reply
        if self._keys:
            curve.secure_client(new, self._keys)
        return new

    def _new_id(self) -> bytes:
        return str(next(self._ids)).encode()

    def _send(self, socket: "zmq.Socket[bytes]", request: bytes, header: Header) -> None:
        try:
            socket.send_multipart([request, encode({**header, "client": self._client})], zmq.NOBLOCK)
        except zmq.Again:
            raise LinkLost("the connection has ended") from None

    def _watch(self) -> None:
        """Note what has happened to the connection. Raises LinkLost if it has ended."""
        while self._monitor.poll(0):
            message = recv_monitor_message(self._monitor)
            event = zmq.Event(message["event"])
            if event == zmq.Event.HANDSHAKE_SUCCEEDED:
                self._is_connected = True
            elif event in _REFUSED:
                raise self._refusal(event, int(message["value"]))
            else:
                raise LinkLost("the connection has ended" if self._is_connected else "nothing listens there")

    def _refusal(self, event: zmq.Event, detail: int) -> LinkLost:
        """Return the error for a connection that was refused."""
        if event == zmq.Event.HANDSHAKE_FAILED_AUTH:
            return LinkRefused(f"it does not know the client's key in {self._keys}: copy the keys of the service again")
        if detail == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH and self._keys:
            return LinkRefused("it has no keys: leave out keys= (--served-keys, or --keys with --stats)")
        needs_keys = "it needs keys (keys=, --served-keys, or --keys with --stats)"
        if detail == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
            return LinkRefused(f"{needs_keys}: name their folder")
        # It has closed the connection, and has not said why.
        keys = f"it does not have the keys in {self._keys}" if self._keys else needs_keys
        return LinkLost(f"{keys}, is no server of a feature service, or has just ended")

    def close(self) -> None:
        """Close the connection."""
        for each in self._sockets:
            if not each.closed:  # by the garbage collector
                each.disable_monitor()
                each.close(0)


def ask_at(link: Link, header: Header, keep_waiting: Callable[[], object] = lambda: None) -> tuple[Header, list[Any]]:
    """Ask, and raise the error that the reply reports."""
    reply, frames = link.ask(header, keep_waiting)
    raise_error(reply)
    return reply, frames


@contextmanager
def closing_after_errors(link: Link) -> Iterator[None]:
    """Close a connection if an exception ends the block: the next request must not get a reply that comes late."""
    try:
        yield
    except BaseException:
        link.close()
        raise
