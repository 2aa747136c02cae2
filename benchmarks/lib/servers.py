"""Start the servers of a feature service on this machine, and ask them for their counters."""

import json
import os
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import zmq

from benchmarks.lib.processes import Process, cpu_s
from gtzan_stream.errors import UserError
from gtzan_stream.service.link import Link, LinkLost

_SERVE = "import json, sys; from gtzan_stream.service import Server; Server(**json.loads(sys.argv[1])).run()"
_START_S = 60.0


class Service:
    """Servers of a feature service, each a process. It is a context manager.

    Parameters
    ----------
    shards : Path
    n_servers : int
    cache_mb : float
        Cache of each server.
    wait : bool
        Whether to wait until the servers answer.

    Attributes
    ----------
    addresses : list of str
    """

    def __init__(self, shards: Path, n_servers: int = 1, *, cache_mb: float = 256, wait: bool = True) -> None:
        self.addresses = [f"tcp://127.0.0.1:{port}" for port in free_ports(n_servers)]
        self._settings = {"shards": str(shards.resolve()), "addresses": self.addresses, "cache_mb": cache_mb}
        self._servers = [self._start(address) for address in self.addresses]
        if wait:
            self.wait()

    def _start(self, address: str) -> Process:
        return Process("-c", _SERVE, json.dumps({**self._settings, "listen": address}))

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *error: object) -> None:
        for server in self._servers:
            server.close()

    def wait(self) -> None:
        """Wait until all servers answer. Raises UserError if one does not."""
        for address in self.addresses:
            latest = time.monotonic() + _START_S
            while stats(address) is None:
                if time.monotonic() > latest:
                    raise UserError(f"the server at {address} does not answer; see above")
                time.sleep(0.05)

    @property
    def pids(self) -> list[int]:
        """Numbers of the servers' processes."""
        return [server.pid for server in self._servers]

    def cpu_s(self) -> float:
        """Return the CPU seconds that the servers have used."""
        return sum(map(cpu_s, self.pids))

    def batches_made(self) -> int:
        """Return how many batches the servers have made."""
        counters = [stats(address) for address in self.addresses]
        return sum(stream["made"] for found in counters if found for stream in found["streams"])

    def stop(self, number: int) -> None:
        """Stop a server, so that it is there but does not answer."""
        os.kill(self.pids[number], signal.SIGSTOP)

    def kill(self, number: int) -> None:
        """Kill a server."""
        self._servers[number].close()

    def restart(self, number: int) -> None:
        """Start a server again that was killed."""
        self._servers[number] = self._start(self.addresses[number])


def stats(address: str) -> dict[str, Any] | None:
    """Return a server's counters, or None if it does not answer."""
    with ExitStack() as stack:
        context: zmq.Context[zmq.Socket[bytes]] = stack.enter_context(zmq.Context())
        try:
            link = Link(context, address, client="benchmark")
            stack.callback(link.close)
            return link.ask({"ask": "stats"})[0]
        except LinkLost:
            return None


def free_ports(n: int) -> list[int]:
    """Return numbers of ports that no program listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
