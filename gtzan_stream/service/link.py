"""Link: one connection of one thread to a server. It asks, and waits for the reply."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from gtzan_stream.service import keys as curve
from gtzan_stream.service.addresses import local_endpoint
from gtzan_stream.service.protocol import Header, ServiceError, decode, encode, raise_error

CONNECT_S = 2.0
"""How long to wait for a connection."""
PING_AFTER_S = 0.5
"""How long to wait for a reply before the server is asked whether it is alive."""
PONG_S = 2.0
"""How long a living server takes at most to say so."""
_POLL_MS = 100
_REFUSED = (
    zmq.Event.HANDSHAKE_FAILED_AUTH,
    zmq.Event.HANDSHAKE_FAILED_PROTOCOL,
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL,
)
_LOST = zmq.Event.DISCONNECTED | zmq.Event.CLOSED | zmq.Event.CONNECT_RETRIED
_LOST |= _REFUSED[0] | _REFUSED[1] | _REFUSED[2]


class LinkLost(ServiceError):
    """The server cannot be reached, has ended, or hangs."""


class Link:
    """A connection to a server, for one thread and one request at a time.

    Parameters
    ----------
    context : zmq.Context
    address : str
        Of the server, as ZeroMQ writes it.
    client : str
        Name of this client, for the server's logs.
    keys : Path, optional
        Folder with the keys of the service.

    Raises
    ------
    LinkLost
        If there is no connection within `CONNECT_S`.
    """

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", address: str, *, client: str, keys: Path | None = None
    ) -> None:
        self.address, self._client, self._ids = address, client, itertools.count(1)
        local = None if keys else local_endpoint(address)
        # The file may be left from a server that was killed, and the address may be that of a tunnel.
        if not (local and Path(local.removeprefix("ipc://")).exists() and self._try_to_connect(context, local)):
            self._connect(context, address, keys)

    def _try_to_connect(self, context: "zmq.Context[zmq.Socket[bytes]]", address: str) -> bool:
        try:
            self._connect(context, address, None)
        except LinkLost:
            return False
        return True

    def _connect(self, context: "zmq.Context[zmq.Socket[bytes]]", address: str, keys: Path | None) -> None:
        self._connected = False
        self._socket = context.socket(zmq.DEALER)
        self._socket.set(zmq.LINGER, 0)
        if keys:
            curve.secure_client(self._socket, keys)
        self._monitor = self._socket.get_monitor_socket(_LOST | zmq.Event.HANDSHAKE_SUCCEEDED)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        try:
            self._socket.connect(address)
            latest = time.monotonic() + CONNECT_S
            while not self._connected:
                if not self._monitor.poll(int(max(latest - time.monotonic(), 0) * 1000)):
                    raise LinkLost(f"no connection in {CONNECT_S:g} s")
                self._watch()
        except (LinkLost, zmq.ZMQError) as error:
            self.close()
            raise LinkLost(str(error)) from None

    def ask(self, header: Header, keep_waiting: Callable[[], object] = lambda: None) -> tuple[Header, list[Any]]:
        """Send a request, and return the header and the arrays' frames of its reply.

        Parameters
        ----------
        header : dict
        keep_waiting : callable
            Called about ten times a second while waiting; an exception that it raises ends the wait.

        Raises
        ------
        LinkLost
            If the server has ended or does not answer pings. The link cannot be used any more.
        ServiceError
            What the reply reports; see `raise_error`.
        """
        request_id = self._send(header)
        ping, sent = b"", time.monotonic()  # the last ping that was not answered, and when it or the request was sent
        while True:
            ready = dict(self._poller.poll(_POLL_MS))
            if self._socket in ready:
                got_id, *frames = self._socket.recv_multipart(copy=False)
                if got_id.bytes == request_id and frames:
                    reply = decode(frames[0].buffer)
                    raise_error(reply)
                    return reply, [frame.buffer for frame in frames[1:]]
                if got_id.bytes == ping:
                    ping, sent = b"", time.monotonic()
                continue
            if self._monitor in ready:
                self._watch()
            keep_waiting()
            waited = time.monotonic() - sent
            if ping and waited > PONG_S:
                raise LinkLost(f"it does not answer, not even in {PONG_S:g} s")
            if not ping and waited > PING_AFTER_S:
                ping, sent = self._send({"ask": "ping"}), time.monotonic()

    def _send(self, header: Header) -> bytes:
        request_id = str(next(self._ids)).encode()
        try:
            self._socket.send_multipart([request_id, encode({**header, "client": self._client})], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            raise LinkLost(str(error)) from None
        return request_id

    def _watch(self) -> None:
        """Note what has happened to the connection. Raises LinkLost if it has ended."""
        while self._monitor.poll(0):
            event = zmq.Event(recv_monitor_message(self._monitor)["event"])
            if event == zmq.Event.HANDSHAKE_SUCCEEDED:
                self._connected = True
            elif event in _REFUSED:
                raise LinkLost("it refuses these keys, or needs keys")
            else:
                raise LinkLost("the connection has ended" if self._connected else "nothing listens there")

    def close(self) -> None:
        """Close the connection."""
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)
