"""The service on Ray clusters on this machine, under a trainer that knows nothing of Ray."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gtzan_stream.service.stats import Stats
from tests.conftest import need
from tests.ray_cases import LONGEST_S, Machine, ended, processes, record, requested, served_addresses

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
    server.wait_for(f"the server at {second} has ended, and Ray has started it again")
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
    assert all(line.startswith((f"{tiny}: ", "python train.py ", "gtzan-stream: ")) for line in server.lines)
    latest = time.monotonic() + 10
    while processes(Path(machine.env["RAY_TMPDIR"]), "ServerActor"):
        assert time.monotonic() < latest


def test_head_that_is_lost_and_comes_back(machine: Machine, tiny: Path) -> None:
    machine.env["RAY_gcs_rpc_server_reconnect_timeout_s"] = "15"  # a minute by default
    do = machine.cluster("127.0.0.1", "127.0.0.1")
    server = machine.serve(tiny)
    addresses = served_addresses(server)
    with_shards = machine.train(addresses, epochs=30, shards=str(tiny))
    without = machine.train(addresses, epochs=30)
    without.wait_for('"number": 20,')
    do("kill gcs")
    without.wait_for(f'"number": {without.number + 100},')
    assert not any("failed" in line for line in without.lines)  # the servers go on without the head
    server.wait_for(r"the Ray cluster at 127\.0\.0\.1:\d+ was lost \(Ray has ended the connection\)")
    server.wait_for(r"the Ray cluster at 127\.0\.0\.1:\d+ was lost \(it does not answer\)")
    do("kill 0")
    do("kill 1")
    with_shards.wait_for(f'"number": {with_shards.number + 40},')
    machine.cluster("127.0.0.1", "127.0.0.1")
    assert served_addresses(server, 2) == addresses
    without.wait_for(f'"number": {without.number + 40},')
    for trainer in (with_shards, without):
        waits = ended(trainer, tiny, 30)
        record("head", longest_s=max(waits[1:]))
    assert max(with_shards.waits()[1:]) < LONGEST_S
    assert server.process.poll() is None


def test_last_node_with_servers_is_replaced(machine: Machine, tiny: Path) -> None:
    do = machine.cluster("127.0.0.1=0", "127.0.0.1")
    server = machine.serve(tiny)
    address = served_addresses(server)
    trainer = machine.train(address, epochs=20)
    trainer.wait_for('"number": 20,')
    do("kill 1")
    server.wait_for(f"the server at {address} is gone with its node")
    do("add 127.0.0.1")
    assert served_addresses(server, 2) == address
    ended(trainer, tiny, 20)
