"""The service on Ray clusters on this machine, under a trainer that knows nothing of Ray."""

import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gtzan_stream.loader import Loader
from gtzan_stream.service.keys import make_keys
from gtzan_stream.service.stats import Stats
from tests.conftest import need

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

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

    def wait_for(self, pattern: str, times: int = 1, within_s: float = 90) -> re.Match[str]:
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
            "RAY_gcs_rpc_server_reconnect_timeout_s": "5",  # a minute by default
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


@pytest.fixture
def machine() -> Iterator[Machine]:
    need("ray")
    folder = Path(tempfile.mkdtemp(prefix="gtzan-ray-", dir="/tmp"))  # Ray's sockets need a short path
    try:
        with ExitStack() as exits:
            yield Machine(folder, exits)
    finally:
        latest = time.monotonic() + 20
        while (left := processes(folder)) and time.monotonic() < latest:
            time.sleep(0.1)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


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


def test_killed_server_and_killed_node(machine: Machine, tiny: Path) -> None:
    do = machine.cluster("127.0.0.1", "127.0.0.1")
    begun = time.monotonic()
    server = machine.serve(tiny)
    first, second = served_addresses(server).split(",")
    started_s = time.monotonic() - begun
    trainer = machine.train(first, epochs=20)  # and it learns of the other one
    trainer.wait_for('"number": 20,')

    with Stats(first) as stats:
        pids = {answer["address"]: answer["pid"] for answer in stats.ask()}
    os.kill(pids[f"tcp://{second}"], signal.SIGKILL)
    killed = time.monotonic()
    server.wait_for(f"the server at {second} has ended; Ray starts it again")
    server.wait_for(f"the server at {second} serves again")
    restarted_s = time.monotonic() - killed
    with Stats(first) as stats:
        again = {answer["address"]: answer["pid"] for answer in stats.ask()}
    assert again.keys() == pids.keys()  # at the same port
    assert again[f"tcp://{second}"] != pids[f"tcp://{second}"]
    latest = time.monotonic() + 30
    while not requested(second):  # until the trainer uses it again
        assert time.monotonic() < latest

    do("kill 1")
    server.wait_for("is gone with its node")
    (left,) = served_addresses(server, 2).split(",")
    do("add 127.0.0.1")
    assert len(served_addresses(server, 3).split(",")) == 2
    waits = ended(trainer, tiny, 20)
    record("killed", started_s=started_s, first_s=waits[0], restarted_s=restarted_s, longest_s=max(waits[1:]))
    assert max(waits[1:]) < LONGEST_S
    with Stats(left) as stats:
        assert len(stats.ask()) == 2

    assert server.send(signal.SIGTERM) == 128 + signal.SIGTERM
    assert server.lines[-1] == "gtzan-stream: interrupted; the servers have ended"
    latest = time.monotonic() + 10
    while processes(Path(machine.env["RAY_TMPDIR"]), "ServerActor"):
        assert time.monotonic() < latest


def test_head_that_is_lost_and_comes_back(machine: Machine, tiny: Path) -> None:
    do = machine.cluster("127.0.0.1", "127.0.0.1")
    server = machine.serve(tiny)
    addresses = served_addresses(server)
    with_shards = machine.train(addresses, epochs=30, shards=str(tiny))
    without = machine.train(addresses, epochs=30)
    without.wait_for('"number": 20,')
    do("kill gcs")
    server.wait_for(r"the Ray cluster at 127\.0\.0\.1:\d+ was lost \(Ray has ended the connection\)")
    server.wait_for(r"the Ray cluster at 127\.0\.0\.1:\d+ was lost \(it does not answer\)")
    without.wait_for(f'"number": {without.number + 40},')
    assert max(without.waits()[1:]) < LONGEST_S  # the servers have gone on without it
    do("kill 0")
    do("kill 1")
    machine.cluster("127.0.0.1", "127.0.0.1")
    served_addresses(server, 2)
    for trainer in (with_shards, without):
        waits = ended(trainer, tiny, 30)
        record("head", longest_s=max(waits[1:]))
    assert server.process.poll() is None


def test_cluster_without_room(machine: Machine, tiny: Path) -> None:
    do = machine.cluster("127.0.0.1", "127.0.0.2")

    def problem(*options: str, shards: Path = tiny) -> str:
        server = machine.serve(shards, *options)
        assert server.process.wait(60) == 2
        server.end()
        (line,) = server.lines
        return line

    assert problem("--servers", "8", "--device", "cpu") == (
        "gtzan-stream: --servers 8 needs 8 CPUs on a node, and the largest node of the Ray cluster has 1: choose a "
        "smaller number"
    )
    assert "no node of the Ray cluster has a GPU: leave out --device cuda" in problem("--device", "cuda")
    assert "has nodes on other machines (127.0.0.2), so its servers need keys" in problem()
    folder = Path(machine.env["RAY_TMPDIR"])
    make_keys(folder / "keys")
    keys = ("--keys", str(folder / "keys"))
    missing = problem(*keys, shards=folder / "missing")
    assert re.search(r"no server can start on node 127\.0\.0\.[12]: .*missing", missing)

    server = machine.serve(tiny, *keys)
    assert {each.split(":")[0] for each in served_addresses(server).split(",")} == {"127.0.0.1", "127.0.0.2"}
    trainer = machine.train(served_addresses(server), epochs=1, keys=str(folder / "keys"))
    ended(trainer, tiny, 1)
    assert server.send(signal.SIGINT) == 130

    do("work")
    server = machine.serve(tiny, *keys)
    assert len(served_addresses(server).split(",")) == 1
    assert "gtzan-stream: 1 server more will start when a CPU is free" in server.lines
    server.send(signal.SIGINT)
    do("work")
    assert "the Ray cluster has 2 CPUs, of which 0 are free, and a server needs 1" in problem(*keys)


@contextmanager
def own_cluster(machine: Machine, tiny: Path) -> Iterator[Program]:
    """Serve on a cluster that the command starts."""
    for name in ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        del machine.env[name]
    begun = time.monotonic()
    server = machine.serve(tiny, "--servers", "1", ray="auto")
    address = served_addresses(server)
    started_s = time.monotonic() - begun
    trainer = machine.train(address, epochs=1)
    waits = ended(trainer, tiny, 1)
    record("own cluster", started_s=started_s, first_s=waits[0])
    assert len(server.lines) == 2  # nothing of Ray's
    yield server
    folder, latest = Path(machine.env["RAY_TMPDIR"]), time.monotonic() + 15
    while left := processes(folder):
        assert time.monotonic() < latest, left
        time.sleep(0.1)


def test_own_cluster_is_private(machine: Machine, tiny: Path) -> None:
    with own_cluster(machine, tiny) as server:
        folder = Path(machine.env["RAY_TMPDIR"])
        assert not (folder / ".ray").exists()  # no token that everybody can read
        listening = listeners(processes(folder))
        assert listening
        assert listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
        assert server.send(signal.SIGINT) == 130


def test_own_cluster_ends_when_the_command_is_killed(machine: Machine, tiny: Path) -> None:
    with own_cluster(machine, tiny) as server:
        server.send(signal.SIGKILL)


def listeners(pids: list[int]) -> set[str]:
    """Return the addresses at which processes listen."""
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            if match := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor)):
                inodes.add(match[1])
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and columns[9] in inodes:
                words = bytes.fromhex(columns[1].split(":")[0])
                packed = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
                found.add(socket.inet_ntop(family, packed))
    return found
