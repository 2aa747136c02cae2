"""Asking: asks servers for the batches of an epoch before they are needed.

A request is sent as soon as it is known, and its reply waits in this process until its batch is needed, so no thread
has to wait for it. What is not an ordinary reply is left to a call of the `Request`, which may ask another server.
"""

import os
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gtzan_stream.prefetch import Pending
from gtzan_stream.service.link import Link
from gtzan_stream.service.protocol import Header, NoSuchStream, Refused, ServiceError, raise_error
from gtzan_stream.service.remote_server import RemoteServer
from gtzan_stream.service.servers import Servers
from gtzan_stream.service.stream import Stream

T = TypeVar("T")


@dataclass(frozen=True)
class Request(Generic[T]):
    """A request for batch `number`. Calling it gets the batch in another way.

    Attributes
    ----------
    number : int
    header : dict
    read : callable
        Returns the batch in a reply.
    otherwise : callable
        What a call does.
    """

    number: int
    header: Header
    read: Callable[[Header, list[Any]], T]
    otherwise: Callable[[], T]

    def __call__(self) -> T:
        return self.otherwise()


@dataclass(frozen=True, eq=False)
class _Connection:
    """A connection to a server, which had failed `n_failures` times when it was opened."""

    server: RemoteServer
    link: Link
    n_failures: int


class Asking(Generic[T]):
    """Requests for batches of a stream, in place of the executor of `prefetch`. For one thread at a time.

    Parameters
    ----------
    servers : Servers
    stream : Stream
    executor : Executor
        Calls requests while no server can be asked.
    """

    def __init__(self, servers: Servers, stream: Stream, executor: Executor) -> None:
        self._servers, self._stream, self._executor = servers, stream, executor
        # Of each process: one that was forked cannot use its parent's.
        self._connections: defaultdict[int, dict[RemoteServer, _Connection]] = defaultdict(dict)

    def submit(self, request: Request[T], /) -> Pending:
        """Send a request."""
        try:
            connection = self._connection(request.number)
        except ServiceError:
            connection = None  # the call finds out why
        if connection is not None:
            try:
                return _Asked(self, connection, connection.link.send(request.header), request)
            except ServiceError as error:
                self._fail(connection, error, request)
        return self._executor.submit(request)

    def _connection(self, number: int) -> _Connection | None:
        """Return a connection to the server to ask for batch `number`; None if no server can be asked."""
        servers = self._servers.ready(self._stream, number)
        if not servers:
            return None
        server, own = servers[0], self._own()
        if server not in own:
            n = server.health.n_failures
            own[server] = _Connection(server, server.link(n), n)
        return own[server]

    def _own(self) -> dict[RemoteServer, _Connection]:
        """Return the connections of this process."""
        return self._connections[os.getpid()]

    def result(self, connection: _Connection, request_id: bytes, request: Request[T]) -> T:
        """Return the batch that was asked for."""
        if connection is not self._own().get(connection.server):
            return request()  # it has failed, or is that of the parent process
        server = connection.server
        try:
            reply, frames = connection.link.receive(request_id, lambda: server.check_works(connection.n_failures))
            raise_error(reply)
            batch = request.read(reply, frames)
        except (Refused, NoSuchStream):
            return request()
        except ServiceError as error:
            self._fail(connection, error, request)
            return request()
        server.health.note_works(connection.n_failures)
        return batch

    def _fail(self, connection: _Connection, error: ServiceError, request: Request[T]) -> None:
        """Note that a server does not work, and close the connection."""
        del self._own()[connection.server]
        connection.link.close()
        connection.server.fail(error, connection.n_failures, (self._stream, request.header))

    def close(self) -> None:
        """Give back the connections on which nothing is expected any more, and close the others."""
        for connection in self._connections.pop(os.getpid(), {}).values():
            connection.server.keep(connection.link, connection.n_failures)


@dataclass(frozen=True, eq=False)
class _Asked(Generic[T]):
    """A request that was sent."""

    asking: Asking[T]
    connection: _Connection
    id: bytes
    request: Request[T]

    def result(self) -> T:
        """Wait for the batch."""
        return self.asking.result(self.connection, self.id, self.request)

    def cancel(self) -> None:
        """Do nothing: the server makes the batch, and keeps it for others."""
