"""Helpers for tests of servers on Ray: clusters of two nodes, and programs that use them."""

import hashlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from gtzan_stream.loader import Loader
from gtzan_stream.service.stats import Stats

ROOT = Path(__file__).parent.parent
LONGEST_S = 2.0
"""How long a trainer may wait when a node or a server is killed."""
STREAM = {"split": "demo", "part": "train", "batch_size": 4, "crops_per_clip": 4, "seed": 3}


class Program:
    """A program with the lines that it has printed, each with its time."""

    def __init__(self, *command: str, env: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=env,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, pattern: str, times: int = 1, within_s: float = 60) -> re.Match[str]:
        """Wait until so many lines match, and return the last match."""
        latest = time.monotonic() + within_s
        while time.monotonic() < latest:
            found = [match for line in list(self.lines) if (match := re.search(pattern, line))]
            if len(found) >= times:
                return found[times - 1]
            if not self._reader.is_alive():
                break
            time.sleep(0.02)
        raise AssertionError(f"no line {pattern!r} in {within_s} s:\n" + "\n".join(self.lines[-30:]))

    def send(self, signal_number: int) -> int:
        """Send a signal, and return the exit status."""
        self.process.send_signal(signal_number)
        return self.process.wait(20)

    @property
    def number(self) -> int:
        """Number of the last batch that a trainer got."""
        return len(self.waits()) - 1

    def waits(self) -> list[float]:
        """Return how long a trainer has waited for each batch."""
        return [json.loads(line)["wait_s"] for line in list(self.lines) if '"wait_s"' in line]

    def end(self, *, ends_itself: bool = False) -> None:
        """End the program."""
        self.process.stdin.close()
        if not ends_itself:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # Ray's processes that have not noticed yet
        self._reader.join(20)
        self.process.stdout.close()


class Machine:
    """Programs of this machine, which all use one folder of Ray and one token, and end with the test."""

    def __init__(self, folder: Path, exits: ExitStack) -> None:
        self._exits = exits
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
            "RAY_TMPDIR": str(folder),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # keep to 127.0.0.1, as on those systems
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_memory_monitor_refresh_ms": "0",
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),  # with compiled kernels
        }
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"

    def start(self, *command: str, ends_itself: bool = False) -> Program:
        program = Program(*command, env=self.env)
        self._exits.callback(program.end, ends_itself=ends_itself)
        return program

    def cluster(self, *hosts: str) -> Callable[[str], None]:
        """Start a cluster with a node at each host, and return a function that obeys a command."""
        command = [sys.executable, "tests/ray_cluster_program.py", str(self.port), *hosts]
        program = self.start(*command, ends_itself=True)  # when its stdin is closed, with all nodes
        n_done = 1
        program.wait_for("^done$")

        def do(command: str) -> None:
            nonlocal n_done
            n_done += 1
            program.process.stdin.write(command + "\n")
            program.process.stdin.flush()
            program.wait_for("^done$", n_done)

        return do

    def serve(self, shards: Path, *options: str, ray: str | None = None) -> Program:
        """Run the command that serves."""
        ray = ray or self.address
        return self.start(sys.executable, "-m", "gtzan_stream", "serve", str(shards), "--ray", ray, *options)

    def train(self, addresses: str, *, epochs: int, pace_s: float = 0.05, **settings: Any) -> Program:
        """Run a trainer."""
        settings = {"addresses": addresses, "epochs": epochs, "pace_s": pace_s, **STREAM, **settings}
        return self.start(sys.executable, "tests/served_program.py", json.dumps(settings))


def processes(folder: Path, name: str = "") -> list[int]:
    """Return the processes of the Ray that uses a folder, whose title contains a name."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            title = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if f"RAY_TMPDIR={folder}".encode() in environment and name in title:
            found.append(int(entry.name))
    return found


def served_addresses(server: Program, times: int = 1) -> str:
    """Return the addresses that the command prints for the n-th time."""
    return server.wait_for(r"^python train.py --served (\S+)", times)[1]


def ended(trainer: Program, tiny: Path, epochs: int) -> list[float]:
    """Wait for a trainer to end; check that it got what a Loader yields, and return how long it waited."""
    trainer.wait_for('"digest"', within_s=120)
    result = json.loads(trainer.lines[-1])
    digest = hashlib.sha256()
    with Loader(tiny, **STREAM) as loader:
        for _ in range(epochs):
            for features, targets in loader:
                digest.update(features.numpy().tobytes() + targets.numpy().tobytes())
    assert result == {"digest": digest.hexdigest(), "batches": epochs * len(loader), "ray": []}
    return trainer.waits()


def requested(address: str) -> int:
    """Return the number of batches that trainers have asked a server for."""
    with Stats(address) as stats:
        (answer,) = (answer for answer in stats.ask() if answer["address"] == f"tcp://{address}")
        return sum(stream["requested"] for stream in answer["streams"])


def record(name: str, **figures: float) -> None:
    """Print figures, for `pytest -s`."""
    print(name, {key: round(value, 2) for key, value in figures.items()})
