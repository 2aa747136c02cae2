"""Helpers for tests of `gtzan-stream serve`: free ports, servers in threads, and the command in a process."""

import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gtzan_stream.service import Server
from tests.house import ROOT


def free_port(n: int = 1) -> int:
    """Return the first of `n` consecutive ports of this machine at which nothing listens."""
    while True:
        first = random.randrange(20_000, 32_000)  # the system gives other programs higher ones
        with ExitStack() as sockets:
            try:
                for port in range(first, first + n):
                    sockets.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


@contextmanager
def serving(shards: Path, n: int = 1, **options: Any) -> Iterator[list[str]]:
    """Run the servers of a service in threads of this process; yields their addresses."""
    first = free_port(n)
    addresses = [f"tcp://127.0.0.1:{first + i}" for i in range(n)]
    servers = [Server(shards, address, addresses=addresses, **options) for address in addresses]
    threads = [threading.Thread(target=server.run) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield addresses
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.stop()
            thread.join()


class Serve:
    """`gtzan-stream serve` in a process of its own, until the `with` block ends."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "gtzan_stream", "serve", *map(str, arguments)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_until_ready(self) -> list[str]:
        """Return the two lines that it prints when it serves."""
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in range(2)]
        assert "--served" in lines[1], self.end()
        return lines

    def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Send a signal, wait for the end, and return the exit status, and what it printed to stderr."""
        if number:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors

    def __enter__(self) -> "Serve":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def children(pid: int) -> set[int]:
    """Return the processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        return {int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()}
    except FileNotFoundError:
        return set()


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that has ended, and that nobody has waited for, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
