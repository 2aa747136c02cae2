"""Trainers that fork, and servers that others replace."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gtzan_stream.loader import Loader
from gtzan_stream.service import ServedLoader
from gtzan_stream.service.protocol import VERSION
from tests.served_cases import digest_of
from tests.service_programs import ROOT, ServerProcess, free_ports, processes
from tests.waiting import wait_for

SETTINGS: dict[str, Any] = {"batch_size": 4, "crops_per_clip": 16, "augment": "study", "seed": 5}
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


FORKED = """
import multiprocessing, sys
from gtzan_stream.service import ServedLoader
from tests.served_cases import digest_of
loader = ServedLoader(sys.argv[1], batch_size=4, crops_per_clip=16, augment="study", seed=5)
iterator = iter(loader)
first = digest_of([next(iterator)])

def child(queue):
    rest = digest_of(iterator)
    loader.set_epoch(0)
    whole = digest_of(loader)
    assert first + rest == whole
    queue.put(whole)

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


@slow
def test_a_loader_can_be_used_in_forked_processes(shards: Path, expected: list[str]):
    with processes(shards, 1) as (server,):
        command = [sys.executable, "-c", FORKED, server.address]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        assert [line.split() for line in done.stdout.splitlines()] == [expected] * 3


ENDED = """
import os, sys
from gtzan_stream.service import ServedLoader
loader = ServedLoader(sys.argv[1], batch_size=4, crops_per_clip=1)
if (child := os.fork()) == 0:
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
print(len(ServedLoader(sys.argv[1], split="stratified", part="train", batch_size=4, crops_per_clip=1)))
"""


@slow
def test_a_forked_process_that_ends_leaves_the_manifest_to_its_parent(shards: Path):
    with processes(shards, 1) as (server,):
        command = [sys.executable, "-c", ENDED, server.address]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr


@slow
@pytest.mark.parametrize("other", ["clips", "version"])
def test_a_server_that_is_replaced_by_another_is_not_used(
    other: str, shards: Path, clips_folder: Path, tmp_path: Path, expected: list[str], caplog: pytest.LogCaptureFixture
):
    from gtzan_stream.store.pack import pack

    pack(clips_folder / "jazz", tmp_path / "other")
    addresses = [f"tcp://127.0.0.1:{port}" for port in free_ports(2)]
    first, second = (ServerProcess(shards, address, addresses) for address in addresses)
    others = {"clips": ServerProcess(tmp_path / "other", addresses[1]), "version": ServerProcess(shards, addresses[1])}
    replacement = others[other]
    try:
        for server in (first, second):
            server.start()
            server.wait_until_ready()
        with ServedLoader(addresses, **SETTINGS) as loader:
            use_both(loader, [first, second])
            second.kill()
            replacement.start(protocol=99 if other == "version" else VERSION)
            replacement.wait_until_ready()
            wait_for(lambda: longest_wait(loader, expected, {}) and "is not used" in caplog.text, 30)
            assert longest_wait(loader, expected, {}) < 2
            assert not is_used(loader, replacement)
        words = {"clips": "has other clips than those of", "version": "install the same version"}
        assert words[other] in caplog.text
    finally:
        for server in (first, second, replacement):
            server.kill()


# --- slow networks, and machines that vanish --------------------------------------------------------------------------


class Cable:
    """A relay of TCP connections to a server: slow, or cut without the end of a connection being told."""

    def __init__(self, address: str, bytes_per_s: float = 1e9) -> None:
        self._port, self._bytes_per_s, self.is_cut = int(address.rpartition(":")[2]), bytes_per_s, False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock, self._sockets = threading.Lock(), list[socket.socket]()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._relay, args=pair, daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                while self.is_cut:
                    time.sleep(0.05)
                with self._lock:  # all connections share the cable
                    time.sleep(len(data) / self._bytes_per_s)
                sink.sendall(data)
            sink.close()

    def close(self) -> None:
        for each in [self._listener, *self._sockets]:
            each.close()


@pytest.fixture
def cables() -> Iterator[Callable[..., Cable]]:
    made: list[Cable] = []

    def make(*arguments: Any, **options: Any) -> Cable:
        made.append(Cable(*arguments, **options))
        return made[-1]

    yield make
    for cable in made:
        cable.close()
