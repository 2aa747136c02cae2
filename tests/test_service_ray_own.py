"""Clusters that `serve --ray` starts itself, and clusters without room."""

import os
import re
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gtzan_stream.service.keys import make_keys
from tests.conftest import need
from tests.ray_cases import Machine, Program, ended, processes, record, served_addresses

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


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
    assert server.send(signal.SIGTERM) == 128 + signal.SIGTERM

    do("work")
    server = machine.serve(tiny, *keys)
    assert len(served_addresses(server).split(",")) == 1
    assert "gtzan-stream: 1 server more will start when a CPU is free" in server.lines
    server.send(signal.SIGTERM)
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
        assert server.send(signal.SIGTERM) == 128 + signal.SIGTERM


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
