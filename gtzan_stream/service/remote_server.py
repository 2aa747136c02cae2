"""RemoteServer: one server as a client sees it: whether it can be asked, and connections to it that are used again.

Only servers that have answered before are asked for batches. Others are contacted in the background, so that no batch
waits for a machine that is off.
"""

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.service.addresses import local_endpoint, resolved
from gtzan_stream.service.health import Health
from gtzan_stream.service.link import Link, LinkLost, LinkRefused, ask_at, closing_after_errors
from gtzan_stream.service.protocol import Header, NoSuchStream, Refused, ServiceError, raise_error
from gtzan_stream.service.stream import Stream
from gtzan_stream.service.terms import Terms
from gtzan_stream.threads import fork_safe_lock

T = TypeVar("T")
_log = logging.getLogger(__name__)


class RemoteServer:
    """A server. The methods may be called from any thread.

    Parameters
    ----------
    address : str
    terms : Terms

    Attributes
    ----------
    instance : str
        Name that the server's process has given itself; empty before it was contacted.
    opened : set of str
        Digests of the streams that are open there.
    health : Health
    """

    def __init__(self, address: str, terms: Terms) -> None:
        self.address, self._terms = address, terms
        self.instance, self.opened, self.health = "", set[str](), Health(address)
        self._lock = fork_safe_lock()
        self._contact: threading.Thread | None = None
        self._endpoint = address
        # Of each process: a forked one has its own. Used without the lock, which this thread may hold when the garbage
        # collector closes an iterator or a loader.
        self._idle: defaultdict[int, list[Link]] = defaultdict(list)

    # --- requests -----------------------------------------------------------------------------------------------------

    def get(self, stream: Stream, header: Header, read: Callable[[Header, list[Any]], T]) -> T:
        """Ask for a batch of a stream, and return what `read` makes of the reply.

        Raises
        ------
        Refused
            If the server works, but cannot make the batch.
        ServiceError
            If the server does not work. It is not live any more.
        """
        n = self.health.n_failures
        try:
            try:
                result = read(*self._ask(header, n))
            except NoSuchStream:  # the server had too many streams, and has closed this one
                self._ask({"ask": "open", "stream": stream.to_dict()}, n)
                result = read(*self._ask(header, n))
        except Refused:
            raise
        except ServiceError as error:
            self.fail(error, n, (stream, header))
            raise
        self.health.note_works(n)
        return result

    def ask(self, header: Header) -> tuple[Header, list[Any]]:
        """Ask for something else; see `get`."""
        n = self.health.n_failures
        try:
            return self._ask(header, n)
        except Refused:
            raise
        except ServiceError as error:
            self.fail(error, n)
            raise

    def _ask(self, header: Header, n: int) -> tuple[Header, list[Any]]:
        """Ask, unless the server fails more often than `n` times meanwhile."""
        link = self.link(n)
        with closing_after_errors(link):
            reply, frames = link.ask(header, lambda: self.check_works(n))
        self.keep(link, n)
        raise_error(reply)
        return reply, frames

    def link(self, n: int) -> Link:
        """Return an idle connection or a new one. Give it to `keep`, or close it if an error occurs.

        Raises
        ------
        ServiceError
            If there is none, or the server fails more often than `n` times meanwhile.
        """
        with suppress(IndexError):
            return self._idle[os.getpid()].pop()
        check = partial(self.check_works, n)
        link = Link(self._endpoint, client=self._terms.client, keys=self._terms.keys, keep_waiting=check)
        with closing_after_errors(link):
            if ask_at(link, {"ask": "hello"}, check)[0].get("instance") != self.instance:
                raise ServiceError("another server was started there")
        return link

    def check_works(self, n: int) -> None:
        """Raise LinkLost if the server has failed more often than `n` times, and UserError if the client was closed."""
        self._terms.check_open()
        if n != self.health.n_failures:
            raise LinkLost("another request to it has failed")

    def keep(self, link: Link, n: int) -> None:
        """Keep a connection for the next request, if the server has not failed more than `n` times."""
        if not link.is_idle or n != self.health.n_failures:
            link.close()
            return
        self._idle[os.getpid()].append(link)
        if n != self.health.n_failures or not self._terms.is_open:  # also since it was looked at: there is no lock
            self.close()

    def fail(self, error: Exception, n: int, failed_at: tuple[Stream, Header] | None = None) -> None:
        """Note that the server does not work, unless it has failed more than `n` times already."""
        if self._terms.is_open and self.health.fail(error, n, failed_at):
            self.close()

    def close(self) -> None:
        """Close the idle connections."""
        idle = self._idle[os.getpid()]
        with suppress(IndexError):
            while True:
                idle.pop().close()

    # --- contact ------------------------------------------------------------------------------------------------------

    @property
    def is_contacted(self) -> bool:
        """Whether the server is being contacted now."""
        return self._contact is not None and self._contact.is_alive()

    def contact_if_due(self, stream: Stream | None, *, now: bool = False) -> None:
        """Begin to contact the server, and to open a stream there, unless that has been done or the server pauses.

        `now` ends the pause.
        """
        with self._lock:
            digest = "" if stream is None else stream.digest
            is_ready = self.health.is_live and (not digest or digest in self.opened)
            if is_ready or self.is_contacted or not (now or self.health.is_due(digest)):
                return
            n = self.health.n_failures
            self._contact = threading.Thread(
                target=self._make_contact, args=(stream, n), name="gtzan-stream-contact", daemon=True
            )
            try:
                self._contact.start()
            except RuntimeError as error:  # the system has no room for another thread
                self.fail(error, n)

    def _make_contact(self, stream: Stream | None, n: int) -> None:
        """Find out what the server is and whether it works, and open a stream. Runs in a thread."""
        digest = ""
        try:
            link = self._connect()
            with closing_after_errors(link):
                self._greet(link)
                self._try_again(link)
                self.health.note_answers(n)
                if stream is not None:
                    digest = stream.digest
                    self._open(link, stream)
            self.keep(link, n)
        except LinkRefused as error:
            if self.instance:  # it has worked, so a trainer waits until it does again
                self.fail(error, n)
            else:
                self._refuse("", UserError(f"the server at {self.address} cannot be used: {error}"))
        except UserError as error:
            self._refuse(digest, error)
        except Refused as error:
            cause = error.error
            self._refuse(digest, type(cause)(f"the server at {self.address} refuses: {cause}"))
        except (ServiceError, OSError, ValueError) as error:  # a ValueError of a name that cannot be one of a host
            self.fail(error, n)
        except Exception as error:
            _log.exception("contact with the server at %s failed", self.address)
            self.fail(error, n)

    def _refuse(self, digest: str, error: UserError | BadSample) -> None:
        if self._terms.is_open:
            self.health.refuse(digest, error)

    def _connect(self) -> Link:
        """Connect to the server's Unix socket if it is on this machine, else to its address."""
        local = None if self._terms.keys else local_endpoint(self.address)
        # The file may be left from a server that was killed, and the address may be that of a tunnel.
        if local and Path(local.removeprefix("ipc://")).exists():
            with suppress(LinkLost):
                self._endpoint = local
                return Link(local, client=self._terms.client, keep_waiting=self._terms.check_open)
        self._endpoint = resolved(self.address)
        return Link(
            self._endpoint, client=self._terms.client, keys=self._terms.keys, keep_waiting=self._terms.check_open
        )

    def _greet(self, link: Link) -> None:
        """Ask the server what it is."""
        description, _ = ask_at(link, {"ask": "hello"}, self._terms.check_open)
        instance = self._terms.check_server(self.address, description)
        with self._lock:
            if self.instance != instance:
                self.instance = instance
                self.opened.clear()
                self.health.refusals.clear()
        self.health.accept("")

    def _try_again(self, link: Link) -> None:
        """Ask for the batch that the server has failed to send. It may hang only when it makes batches."""
        if self.health.failed_at is not None:
            stream, header = self.health.failed_at
            with suppress(Refused, UserError):
                self._open(link, stream)
                ask_at(link, header, self._terms.check_open)
            self.health.failed_at = None

    def _open(self, link: Link, stream: Stream) -> None:
        reply, _ = ask_at(link, {"ask": "open", "stream": stream.to_dict()}, self._terms.check_open)
        self._terms.check_probe(self.address, stream, reply.get("probe"))
        self.health.accept(stream.digest)
        self.opened.add(stream.digest)
