"""Slow networks, machines that vanish, and hostile clients."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gtzan_stream.loader import Loader
from gtzan_stream.service import ServedLoader
from gtzan_stream.service.link import PING_AFTER_S, PONG_S
from tests.served_cases import digest_of
from tests.service_programs import Caller, ServerProcess, get, processes, stream_of, threaded
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


@slow
def test_a_batch_that_is_sent_for_long_is_no_time_out(
    shards: Path, cables: Callable[..., Cable], caplog: pytest.LogCaptureFixture
):
    settings = {"batch_size": 64, "crops_per_clip": 8, "augment": "none"}
    with Loader(shards, **settings) as local:
        expected, size = digest_of(local), next(iter(local)).features.numpy().nbytes
    with processes(shards, 1) as (server,):
        cable = cables(server.address, bytes_per_s=size / PONG_S)
        server_addresses_only_through_the_cable(server, cable)
        with ServedLoader(cable.address, **settings) as loader:
            begun = time.monotonic()
            longest_wait(loader, expected, {})
            assert time.monotonic() - begun > PING_AFTER_S + 1.5 * PONG_S, "the batches arrive together"
    assert "failed" not in caplog.text


def server_addresses_only_through_the_cable(server: ServerProcess, cable: Cable) -> None:
    """Start a server again that names only the cable's address."""
    server.kill()
    server._settings["addresses"] = [cable.address]
    server.start()
    server.wait_until_ready()


@slow
def test_a_machine_that_vanishes_costs_one_time_out(shards: Path, expected: list[str], cables: Callable[..., Cable]):
    with processes(shards, 1) as (far,):
        cable = cables(far.address)
        server_addresses_only_through_the_cable(far, cable)
        with threaded(shards) as near, ServedLoader([near.address, cable.address], **SETTINGS) as loader:
            wait_for(
                lambda: loader._servers.ready(loader._stream, 0) and len(loader._servers.ready(loader._stream, 0)) == 2
            )
            longest = longest_wait(loader, expected, {MIDDLE_OF_EPOCH: lambda: setattr(cable, "is_cut", True)})
            print(f"longest wait: {longest:.2f} s")
            assert 2 < longest < 4
            waits = [longest_wait(loader, expected, {}) for _ in range(4)]
            assert max(waits) < 1.5, "its address costs no more time"


# --- hostile clients --------------------------------------------------------------------------------------------------


@slow
def test_a_client_that_never_reads_costs_little(shards: Path, expected: list[str]):
    stream = stream_of(shards, batch_size=64, crops_per_clip=8)
    with processes(shards, 1, cache_mb=20) as (server,), Caller(server.address) as caller:
        caller.ask({"ask": "open", "stream": stream.to_dict()})
        caller.send(get(stream))
        reply_mb = sum(map(len, caller.receive()[2])) / 1e6
        unread, sizes = Caller(server.address, receives=1), []
        done = caller.ask({"ask": "ping"})["done"]
        for i in range(450):
            unread.send(get(stream, epoch=i))
            wait_for(lambda least=done + i: caller.ask({"ask": "ping"})["done"] > least)
            if i in (149, 449):
                sizes.append(server.rss_mb())
        assert sizes[1] - sizes[0] < 300 * reply_mb / 4, "its replies are dropped"
        with ServedLoader(server.address, **SETTINGS) as loader:
            assert longest_wait(loader, expected, {}) < 5
        unread.close()


@slow
def test_a_client_that_opens_hundreds_of_streams_disturbs_no_other(shards: Path, expected: list[str]):
    with processes(shards, 1) as (server,), Caller(server.address) as caller:
        stop = threading.Event()

        def open_many() -> None:
            for seed in range(300):
                if stop.is_set():
                    return
                caller.ask({"ask": "open", "stream": stream_of(shards, seed=seed).to_dict()})

        thread = threading.Thread(target=open_many)
        thread.start()
        with ServedLoader(server.address, **SETTINGS) as loader:
            assert longest_wait(loader, expected, {}) < 5
            thread.join(120)
            memory = server.rss_mb()
            assert longest_wait(loader, expected, {}) < 5
        stop.set()
        with Caller(server.address) as other:
            assert len(other.ask({"ask": "stats"})["streams"]) <= 64
            for seed in range(300, 500):
                other.ask({"ask": "open", "stream": stream_of(shards, seed=seed).to_dict()})
        assert server.rss_mb() < memory * 1.1


@slow
def test_hundreds_of_loaders_one_after_another_leave_nothing(shards: Path, expected: list[str]):
    def n_open() -> int:
        return len(os.listdir("/proc/self/fd"))

    with processes(shards, 1) as (server,):
        sizes = []
        for i in range(200):
            with ServedLoader(server.address, **SETTINGS) as loader:
                for number, _ in enumerate(loader):
                    if number == i % 3:
                        break
            if i in (20, 199):
                wait_for(lambda: not [thread for thread in threading.enumerate() if "contact" in thread.name])
                time.sleep(1)  # ZeroMQ closes connections in a thread of its own
                sizes.append((n_open(), server.rss_mb()))
        print("files, MB:", sizes)
        (files, memory), (files_after, memory_after) = sizes
        assert files_after <= files + 3
        assert memory_after < memory * 1.05
