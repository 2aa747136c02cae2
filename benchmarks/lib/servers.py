"""Start the servers of a feature service on this machine, and ask them for their counters."""

import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from benchmarks.lib.processes import Process, cpu_s
from gtzan_stream.errors import UserError
from gtzan_stream.service.stats import Stats

_START_S = 60.0


class Service:
    """Servers of a feature service, as `gtzan-stream serve` starts them. It is a context manager.

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
    pids : list of int
        Of the servers, when they answered first.
    """

    def __init__(self, shards: Path, n_servers: int = 1, *, cache_mb: float = 256, wait: bool = True) -> None:
        port = free_port(n_servers)
        options = {"--listen": f"127.0.0.1:{port}", "--servers": str(n_servers), "--cache-mb": str(cache_mb)}
        words = [str(shards.resolve()), *(word for option in options.items() for word in option)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.addresses = [f"tcp://127.0.0.1:{port + i}" for i in range(n_servers)]
        self.pids: list[int] = []
        self._words, self._supervisor = words, Process("-m", "gtzan_stream", "serve", *words, **quiet)
        if wait:
            self._wait()

    def _wait(self) -> None:
        latest = time.monotonic() + _START_S
        while any("error" in found for found in self._stats()):
            if self._supervisor.process.poll() is not None or time.monotonic() > latest:
                self.close()
                raise UserError(f"the servers do not start; to see why: gtzan-stream serve {' '.join(self._words)}")
            time.sleep(0.05)
        self.pids = [found["pid"] for found in self._stats()]

    def _stats(self) -> list[dict[str, Any]]:
        """Return the counters of each server, or an error, in the order of their ports."""
        with Stats(self.addresses) as stats:
            try:
                return stats.ask()
            except UserError as error:  # no server answers
                return [{"error": str(error)}]

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the servers, and first of all the supervisor, which would start them again."""
        self._supervisor.close()
        for number in range(len(self.pids)):
            with suppress(ProcessLookupError):
                self.kill(number)

    def cpu_s(self) -> float:
        """Return the CPU seconds that the servers and their supervisor have used."""
        return sum(map(cpu_s, [*self.pids, self._supervisor.pid]))

    def batches_made(self) -> int:
        """Return how many batches the servers have made."""
        return sum(stream["made"] for found in self._stats() for stream in found["streams"])

    def stop(self, number: int) -> None:
        """Stop a server, so that it is there but does not answer."""
        os.kill(self.pids[number], signal.SIGSTOP)

    def kill(self, number: int) -> None:
        """Kill a server. The supervisor starts it again."""
        os.kill(self.pids[number], signal.SIGKILL)


def free_port(n: int) -> int:
    """Return the first of `n` ports in a row that no program listens at."""
    while True:
        with ExitStack() as stack, suppress(OSError, OverflowError):  # the next one is taken, or there is none
            sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
            sockets[0].bind(("127.0.0.1", 0))
            port = sockets[0].getsockname()[1]
            for number, each in enumerate(sockets[1:], start=1):
                each.bind(("127.0.0.1", port + number))
            return port
