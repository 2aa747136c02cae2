"""Server: makes the batches that clients ask for, each once, and keeps the last ones.

The main thread owns the socket, the streams and the counters. It answers pings and questions at once, so that a client
can tell a busy server from a hung one, and leaves the rest to the threads of `Streams`. When a batch is done, its
thread wakes the main thread, and every client that waits for it gets the same bytes.
"""

import logging
import os
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import zmq

from gtzan_stream import __version__
from gtzan_stream.checks import checked_device, checked_int
from gtzan_stream.errors import UserError
from gtzan_stream.registry import check_importable
from gtzan_stream.service import keys as curve
from gtzan_stream.service.addresses import is_listening, is_loopback, local_endpoint
from gtzan_stream.service.calls import Calls
from gtzan_stream.service.counters import Clients, cpu_s
from gtzan_stream.service.protocol import (
    FILE_BYTES,
    MAX_OPEN_REQUESTS,
    MAX_REQUEST_BYTES,
    VERSION,
    Header,
    ServiceError,
    decode,
    encode,
)
from gtzan_stream.service.replies import Caller, Replies
from gtzan_stream.service.stream import Stream
from gtzan_stream.service.streams import Reply, Streams
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.tables import MANIFEST, SAMPLES, SPLITS
from gtzan_stream.words import one_line, short_repr

_log = logging.getLogger(__name__)
_LOOK_MS = 500
"""How long to wait for messages before Python can call the handler of a signal: one that comes just before the wait, or
in another thread, does not end the wait."""
_HEARTBEAT_MS = 15_000
"""Connections to machines that have vanished are closed when they have not answered for four times as long."""


class Server:
    """A server of the feature service.

    Parameters
    ----------
    shards : path, address or Manifest
    listen : str
        Where to listen; see `gtzan_stream.service.addresses`.
    keys : Path, optional
        Folder with the keys of the service. Needed unless `listen` is on this machine only.
    device : str
        Where batches are made.
    cache_mb : float
        Size of the batches that are kept, in megabytes.
    allow : collection of str
        Names "module:function" of augmentations and features that clients may use.
    addresses : sequence of str
        Addresses of all servers of the service, which clients are told.

    Raises
    ------
    UserError
        If the shards cannot be opened, the address cannot be listened at, or a name of `allow` cannot be imported.
    """

    def __init__(
        self,
        shards: str | Path | Manifest,
        listen: str,
        *,
        keys: Path | None = None,
        device: str = "cpu",
        cache_mb: float = 256,
        allow: Collection[str] = (),
        addresses: Sequence[str] = (),
    ) -> None:
        if keys is None and not is_loopback(listen):
            raise UserError(
                f"--listen {listen} can be reached from other machines, so it needs keys: make them with "
                "`gtzan-stream serve --make-keys DIR`, and give --keys DIR to servers and trainers"
            )
        self.device = checked_device(device)
        for name in allow:
            check_importable(name, "--allow")
        self.manifest = shards if isinstance(shards, Manifest) else Manifest.open(shards)
        self.addresses = [*addresses]
        self._clients, self._begun, self._instance = Clients(), time.monotonic(), uuid.uuid4().hex
        self._calls, self._stopped = Calls(), False
        self._streams = Streams(
            self.manifest, self.device, max_bytes=int(cache_mb * 1e6), allow=allow, call_soon=self._calls.add
        )
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.MAXMSGSIZE, MAX_REQUEST_BYTES)
        # Limits for each connection. Replies to a client that does not read them are dropped.
        self._socket.set(zmq.RCVHWM, MAX_OPEN_REQUESTS)
        self._socket.set(zmq.SNDHWM, 2 * MAX_OPEN_REQUESTS)
        self._socket.set(zmq.ROUTER_MANDATORY, 1)
        self._socket.set(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
        self._socket.set(zmq.HEARTBEAT_TIMEOUT, 4 * _HEARTBEAT_MS)
        self._socket.set(zmq.IPV6, "[" in listen)
        self._replies = Replies(self._socket, self._calls)
        self._authenticator = None
        try:
            if keys:
                self._authenticator = curve.secure_server(self._context, self._socket, keys)
            self._bind(listen, keys)
        except UserError:
            self.close()
            raise
        except (zmq.ZMQError, OSError) as error:
            self.close()
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise UserError(f"cannot listen at {listen}: {reason}; choose another address with --listen") from None

    def _bind(self, listen: str, keys: Path | None) -> None:
        if listen.startswith("ipc://") and is_listening(listen):  # ZeroMQ would take the path from the other program
            raise UserError(f"cannot listen at {listen}: another program does; choose another address with --listen")
        self._socket.bind(listen)
        self.address = self._socket.get_string(zmq.LAST_ENDPOINT)
        self.addresses = self.addresses or [self.address]
        if not keys and (local := local_endpoint(self.address)):  # with half of the work of a TCP connection
            try:
                self._socket.bind(local)
            except zmq.ZMQError as error:
                _log.debug("clients on this machine use TCP: %s cannot be listened at (%s)", local, error)

    def run(self) -> None:
        """Answer requests until `stop` is called."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._calls.woken, zmq.POLLIN)
        try:
            while not self._stopped:
                ready = dict(poller.poll(_LOOK_MS))
                self._calls.run()
                if self._socket in ready:
                    self._receive()
        finally:
            self.close()

    def stop(self) -> None:
        """End `run` soon. May be called from any thread, and from a signal handler."""
        self._stopped = True
        self._calls.add()

    def close(self) -> None:
        """Close the socket and the streams."""
        self._streams.close()
        if self._authenticator:
            self._authenticator.stop()
        self._context.destroy(linger=0)
        self._calls.close()

    # --- requests -----------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        """Receive the requests that have arrived."""
        for _ in range(64):  # then look whether batches are done
            try:
                client, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(frames) != 2 or len(frames[0]) > 64:
                continue  # no request, and nothing to reply to
            caller: Caller = (client, frames[0], "unknown client")
            try:
                header = decode(frames[1])
                caller = (client, frames[0], one_line(str(header.get("client", ""))[:100]))
                self._answer(caller, header)
            except Exception as error:
                self._replies.refuse(caller, error)

    def _answer(self, caller: Caller, header: Header) -> None:
        """Answer a request, now or when its batch is made."""
        ask = header.get("ask")
        if ask == "get":
            self._get(caller, header)
        elif ask == "open":
            self._open(caller, header)
        else:
            answers: dict[Any, Callable[[], Reply]] = {
                "ping": lambda: Reply([encode({"done": self._replies.n_done})]),
                "hello": lambda: Reply([encode(self.describe())]),
                "stats": lambda: Reply([encode(self.stats())]),
                "file": lambda: self._file(header),
            }
            if not isinstance(ask, str) or ask not in answers:
                raise ServiceError(
                    f"a request asks for {short_repr(ask)}, not for one of get, open, {', '.join(answers)}"
                )
            self._clients.add(caller[2], None)
            self._replies.send(caller, answers[ask]())

    def _get(self, caller: Caller, header: Header) -> None:
        """Reply with a batch when it is made."""
        opened = self._streams.find(header.get("stream"))
        epoch, number = (checked_int(key, header.get(key)) for key in ("epoch", "number"))
        world_size = checked_int("world_size", header.get("world_size"), 1, opened.stream.batch_size)
        rank = checked_int("rank", header.get("rank"), 0, world_size - 1)
        self._clients.add(caller[2], opened.stream.digest)
        begin = partial(self._streams.get, opened, (epoch, number, rank, world_size))
        self._replies.when_done(caller, begin, opened.counters)

    def _open(self, caller: Caller, header: Header) -> None:
        """Reply with what a client needs to know of a stream when it is open."""
        stream = Stream.from_dict(header.get("stream"))
        if stream.manifest_digest != self.manifest.digest:
            raise UserError(
                f"the server at {self.address} serves {self.manifest.folder.address()}, whose clips are not those that "
                "this trainer asks for: serve the same shards"
            )

        def begin() -> Future[Reply]:
            reply, is_new = self._streams.open(stream)
            _log.info("%s %s stream %s: %s", caller[2], "opens" if is_new else "joins", stream.digest[:8], stream)
            return reply

        self._replies.when_done(caller, begin)

    def _file(self, header: Header) -> Reply:
        """Return a part of one of the manifest's files, with its size."""
        name, offset = header.get("name"), checked_int("offset", header.get("offset"), 0, 2**62)
        if name not in (MANIFEST, SAMPLES, SPLITS):
            raise UserError(f"a server sends {MANIFEST}, {SAMPLES} and {SPLITS}, not {short_repr(name)}")
        with self.manifest.folder.path(name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(min(offset, size))
            return Reply([encode({"size": size}), file.read(FILE_BYTES)])

    # --- what the server says of itself -------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Return what a client needs to know before it opens a stream."""
        return {
            "protocol": VERSION,
            "instance": self._instance,
            "version": __version__,
            "manifest_digest": self.manifest.digest,
            "device": self.device.type,
            "addresses": self.addresses,
        }

    def stats(self) -> dict[str, Any]:
        """Return the server's counters."""
        return {
            "address": self.address,
            "pid": os.getpid(),
            "device": str(self.device),
            "uptime_s": time.monotonic() - self._begun,
            "cpu_s": cpu_s(),
            "errors": self._replies.n_errors,
            **self._streams.to_dict(),
            "clients": self._clients.to_list(),
        }
