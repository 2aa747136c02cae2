"""Whole epochs are equal to the bit while servers and other trainers are killed, stopped, replaced and cut off."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader
from gtzan_stream.service import ServedLoader
from tests.served_cases import digest_of
from tests.service_programs import ROOT, Caller, ServerProcess, free_ports, processes, threaded
from tests.waiting import wait_for

SETTINGS: dict[str, Any] = {"batch_size": 4, "crops_per_clip": 16, "augment": "study", "seed": 5}
MIDDLE_OF_EPOCH = 15
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def expected(shards: Path) -> list[str]:
    with Loader(shards, **SETTINGS) as loader:
        return digest_of(loader)


def longest_wait(
    loader: ServedLoader, expected: list[str], actions: dict[int, Callable[[], object]], epoch: int = 0
) -> float:
    """Check an epoch, during which each action is done after a batch, and return the longest wait for a batch."""
    longest, begun, digests = 0.0, time.monotonic(), []
    for number, batch in enumerate(loader):
        longest = max(longest, time.monotonic() - begun) if number else 0.0
        digests += digest_of([batch])
        if number in actions:
            actions[number]()
        begun = time.monotonic()
    assert digests == expected
    loader.set_epoch(epoch)
    return longest


def is_used(loader: ServedLoader, server: ServerProcess) -> bool:
    known = loader._servers._servers.get(server.address)
    return known is not None and known.health.is_live and loader._stream.digest in known.opened


def use_both(loader: ServedLoader, servers: list[ServerProcess]) -> None:
    """Wait until a loader uses servers."""
    loader._servers.ready(loader._stream, 0)

    def all_used() -> bool:
        loader._servers._contact(loader._stream)
        return all(is_used(loader, server) for server in servers)

    wait_for(all_used)


def test_killing_one_of_two_servers_changes_nothing(shards: Path, expected: list[str]):
    with processes(shards, 2) as servers, ServedLoader(servers[0].address, **SETTINGS) as loader:
        use_both(loader, servers)
        longest = longest_wait(loader, expected, {MIDDLE_OF_EPOCH: servers[1].kill})
        print(f"longest wait: {longest:.2f} s")
        assert longest < 1.5


@slow
def test_a_stopped_server_costs_one_time_out(shards: Path, expected: list[str]):
    with processes(shards, 2) as servers, ServedLoader(servers[0].address, **SETTINGS) as loader:
        use_both(loader, servers)
        longest = longest_wait(loader, expected, {MIDDLE_OF_EPOCH: lambda: servers[1].send(signal.SIGSTOP)})
        print(f"longest wait: {longest:.2f} s")
        assert 2 < longest < 4
        servers[1].send(signal.SIGCONT)
        use_both(loader, servers)
        assert longest_wait(loader, expected, {}) < 1.5


@slow
def test_the_only_server_is_killed_and_started_again(shards: Path, expected: list[str]):
    times: list[float] = []

    def restart(server: ServerProcess) -> None:
        times.append(time.monotonic())
        server.kill()
        server.start()
        threading.Thread(target=lambda: (server.wait_until_ready(), times.append(time.monotonic()))).start()

    with processes(shards, 1) as (server,), ServedLoader(server.address, **SETTINGS) as loader:
        longest = longest_wait(loader, expected, {MIDDLE_OF_EPOCH: lambda: restart(server)})
        killed, ready = times
        print(f"longest wait: {longest:.2f} s, of which the server needed {ready - killed:.2f} s to start")
        assert longest - (ready - killed) < 2


@slow
def test_without_any_server_batches_are_made_here_until_one_is_back(
    shards: Path, expected: list[str], caplog: pytest.LogCaptureFixture
):
    with processes(shards, 2) as servers, ServedLoader(servers[0].address, shards, **SETTINGS) as loader:
        use_both(loader, servers)
        longest = longest_wait(loader, expected, {MIDDLE_OF_EPOCH: lambda: [server.kill() for server in servers]})
        print(f"longest wait: {longest:.2f} s")
        assert longest < 2
        assert caplog.text.count("no server of the feature service is left: making batches here") == 1
        servers[0].start()
        servers[0].wait_until_ready()
        with Caller(servers[0].address) as caller:
            wait_for(lambda: longest_wait(loader, expected, {}) and caller.ask({"ask": "stats"})["streams"], 60)
        assert longest_wait(loader, expected, {}) < 2
        assert "works again" in caplog.text


@slow
@pytest.mark.parametrize("has_shards", [False, True])
def test_a_server_whose_shards_vanish_is_replaced(
    has_shards: bool, shards: Path, tmp_path: Path, expected: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gtzan_stream.service.loader._WITHOUT_SERVER_S", 2.0)
    copy = shutil.copytree(shards, tmp_path / "copy")
    good, bad = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    with threaded(copy, listen=bad), ServedLoader(bad, shards if has_shards else None, **SETTINGS) as loader:
        shutil.rmtree(copy)  # before any shard is opened
        if has_shards:
            longest_wait(loader, expected, {})
            return
        with pytest.raises(UserError, match="copy"):
            longest_wait(loader, expected, {})
    copy = shutil.copytree(shards, copy)
    with threaded(copy, listen=bad), threaded(shards, listen=good), ServedLoader([bad, good], **SETTINGS) as loader:
        shutil.rmtree(copy)
        assert longest_wait(loader, expected, {}) < 5


TRAINER = """
import sys, time
from gtzan_stream.service import ServedLoader
from gtzan_stream.service.link import PING_AFTER_S, PONG_S
from gtzan_stream.service.protocol import VERSION
with ServedLoader(sys.argv[1], batch_size=4, crops_per_clip=16, augment="study", seed=int(sys.argv[2])) as loader:
    for epoch in range(1000):
        for batch in loader:
            print(".", end="", flush=True)
"""


@slow
def test_a_trainer_that_is_killed_disturbs_no_other(shards: Path, expected: list[str]):
    with processes(shards, 1) as (server,), ServedLoader(server.address, **SETTINGS) as loader:
        for seed in (5, 6):
            command = [sys.executable, "-c", TRAINER, server.address, str(seed)]
            trainer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
            assert trainer.stdout
            trainer.stdout.read(3)
            assert longest_wait(loader, expected, {MIDDLE_OF_EPOCH: trainer.kill}) < 5
            trainer.wait()
            trainer.stdout.close()
        with Caller(server.address) as caller:
            assert longest_wait(loader, expected, {}) < 5
            assert caller.ask({"ask": "stats"})["errors"] == 0


FORKED = """
import multiprocessing, sys
from gtzan_stream.service import ServedLoader
from tests.served_cases import digest_of
loader = ServedLoader(sys.argv[1], batch_size=4, crops_per_clip=16, augment="study", seed=5)
iterator = iter(loader)
first = digest_of([next(iterator)])

def child(queue):
    loader.set_epoch(0)
    queue.put(digest_of(loader))

context = multiprocessing.get_context("fork")
for _ in range(2):
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    print(" ".join(queue.get(timeout=60)))
    process.join(20)
    assert process.exitcode == 0, process.exitcode
print(" ".join(first + digest_of(iterator)))
"""
