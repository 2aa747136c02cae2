"""Ask all servers of a service for their counters, for `gtzan-stream serve --stats`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gtzan_stream.errors import UserError
from gtzan_stream.service.addresses import endpoints, replace_wildcard, resolved
from gtzan_stream.service.link import Link, ask_at
from gtzan_stream.service.protocol import Header, ServiceError

_CLIENT = "gtzan-stream serve --stats"


class Stats:
    """Connections to all servers of a service. Use it in one thread, and as a context manager.

    Parameters
    ----------
    addresses : str or sequence of str
        Of any servers of the service; they know the others.
    keys : Path, optional
        Folder with the keys of the service.

    Raises
    ------
    UserError
        If an address is none, or the keys cannot be read.
    """

    def __init__(self, addresses: str | Sequence[str], *, keys: Path | None = None) -> None:
        self._addresses, self._keys = endpoints(addresses), keys
        self._links: dict[str, Link] = {}

    def ask(self) -> list[dict[str, Any]]:
        """Return the counters of each server, as `Server.stats` does, or its address and "error" if it does not answer.

        Raises
        ------
        UserError
            If no server answers.
        """
        answers: dict[str, dict[str, Any]] = {}
        for address in self._addresses:  # grows while the servers name others
            answers[address] = self._ask(address)
        if all("error" in answer for answer in answers.values()):
            reasons = "; ".join(f"{answer['address']}: {answer['error']}" for answer in answers.values())
            raise UserError(f"no server answers ({reasons}): start servers with `gtzan-stream serve SHARDS`")
        return [answers[address] for address in sorted(answers, key=_by_port)]

    def _ask(self, address: str) -> dict[str, Any]:
        """Ask a server, first for the other servers' addresses."""
        try:
            if address not in self._links:
                self._links[address] = Link(resolved(address), client=_CLIENT, keys=self._keys)
                self._add_servers(self._answer(address, "hello"), address)
            return {**self._answer(address, "stats"), "address": address}
        except (ServiceError, OSError) as error:  # OSError: the host's name is not known
            if link := self._links.pop(address, None):
                link.close()
            return {"address": address, "error": str(error)}

    def _answer(self, address: str, question: str) -> Header:
        return ask_at(self._links[address], {"ask": question})[0]

    def _add_servers(self, description: Header, reached_at: str) -> None:
        named = description.get("addresses")
        if not isinstance(named, list) or not all(isinstance(each, str) for each in named):
            raise ServiceError("it does not say which servers there are")
        for address in endpoints([replace_wildcard(each, reached_at) for each in named]):
            if address not in self._addresses:
                self._addresses.append(address)

    def __enter__(self) -> "Stats":
        return self

    def __exit__(self, *_: object) -> None:
        for link in self._links.values():
            link.close()


def _by_port(address: str) -> tuple[str, int]:
    """Return a key that sorts addresses by host, and by port as a number."""
    host, _, port = address.rpartition(":")
    return (host, int(port)) if port.isdigit() else (address, 0)
