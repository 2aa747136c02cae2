"""Replies: what a server sends, at once or when a batch is made, and how much it works on for one connection."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

import zmq

from gtzan_stream.errors import BadSample, UserError, format_error
from gtzan_stream.service.calls import Calls
from gtzan_stream.service.counters import StreamCounters
from gtzan_stream.service.protocol import (
    MAX_OPEN_REQUESTS,
    Busy,
    NoSuchStream,
    ServiceError,
    encode,
    error_header,
)
from gtzan_stream.service.streams import Reply

_log = logging.getLogger(__name__)
Caller = tuple[bytes, bytes, str]
"""Where a request came from: connection, id, and the client's name for logs."""


class Replies:
    """Sends replies. Its methods belong to the server's main thread.

    Parameters
    ----------
    socket : zmq.Socket
    calls : Calls
        For what a thread has done.

    Attributes
    ----------
    n_done, n_errors : int
        Requests for batches and streams that were finished; errors that were sent.
    """

    def __init__(self, socket: "zmq.Socket[bytes]", calls: Calls) -> None:
        self._socket, self._calls, self._n_open = socket, calls, Counter[bytes]()
        self.n_done = self.n_errors = 0

    def when_done(
        self, caller: Caller, begin: Callable[[], Future[Reply]], counters: StreamCounters | None = None
    ) -> None:
        """Reply with the result of the future that `begin` returns, or its error, when it is done.

        Raises
        ------
        Busy
            If the connection has too many open requests.
        """
        connection, *_ = caller
        if self._n_open[connection] >= MAX_OPEN_REQUESTS:
            raise Busy(f"a connection may have {MAX_OPEN_REQUESTS} open requests")
        begun, future = time.perf_counter(), begin()
        self._n_open[connection] += 1

        def finish(future: Future[Reply]) -> None:
            self.n_done += 1
            self._n_open[connection] -= 1
            if not self._n_open[connection]:
                del self._n_open[connection]
            if counters:
                counters.waiting_s += time.perf_counter() - begun
            if future.cancelled():
                return  # the server is closing
            error = future.exception()
            if error is None:
                self.send(caller, future.result())
            else:
                self.refuse(caller, error)

        if future.done():
            finish(future)
        else:  # without a reference to the future, which keeps its callbacks
            future.add_done_callback(lambda future: self._calls.add(partial(finish, future)))

    def refuse(self, caller: Caller, error: BaseException) -> None:
        """Reply with an error."""
        self.n_errors += 1
        name = caller[2]
        if not isinstance(error, UserError | BadSample | ServiceError | OSError):
            _log.error("request of %s failed", name, exc_info=error)
        elif not isinstance(error, NoSuchStream):
            _log.info("%s: %s", name, format_error(error))
        self.send(caller, Reply([encode(error_header(error))]))

    def send(self, caller: Caller, reply: Reply) -> None:
        """Send a reply. One that its client cannot take any more is dropped."""
        connection, request_id, _ = caller
        with suppress(zmq.ZMQError):
            self._socket.send_multipart([connection, request_id, *reply.frames], zmq.NOBLOCK, copy=False)
