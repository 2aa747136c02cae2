"""Servers that are not there, and addresses that do not answer: they cost no time."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gtzan_stream.loader import Loader
from gtzan_stream.service import ServedLoader, health, link
from gtzan_stream.service.addresses import local_endpoint
from gtzan_stream.service.protocol import encode
from gtzan_stream.service.server import Server
from tests.service_programs import Frames, Middle, threaded
from tests.waiting import wait_for

SETTINGS: dict[str, Any] = {"batch_size": 4, "crops_per_clip": 4, "augment": "none", "seed": 3}


@pytest.fixture(scope="module")
def served(shards: Path) -> Iterator[Server]:
    with threaded(shards) as server:
        yield server


@pytest.fixture(scope="module")
def expected(shards: Path) -> list[tuple]:
    with Loader(shards, **SETTINGS) as local:
        return contents(local)


def contents(batches: Any) -> list[tuple]:
    return [
        (b.keys, b.labels.tolist(), b.crops.tolist(), b.weights.tolist(), b.features.numpy().tobytes()) for b in batches
    ]


# --- servers that are not there, or are other servers -----------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """Address that accepts connections and never answers, as that of a machine that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"


def waits(batches: Any) -> list[float]:
    """Return how long each batch was waited for."""
    found, begun = [], time.monotonic()
    for _ in batches:
        found.append(time.monotonic() - begun)
        begun = time.monotonic()
    return found


@pytest.mark.slow
def test_addresses_that_do_not_answer_cost_no_time(silent: str, served: Server, shards: Path):
    addresses = [silent, "127.0.0.1:1", "no-such-host.invalid:1", f"{'x' * 64}.invalid:1", served.address]
    begun = time.monotonic()
    with ServedLoader(addresses, shards, **SETTINGS) as batches:
        assert time.monotonic() - begun < link.CONNECT_S
        for _ in range(8):
            assert max(waits(batches)) < link.CONNECT_S


@pytest.mark.slow
def test_only_a_server_that_hangs_costs_no_time_if_there_are_shards(
    silent: str, shards: Path, expected: list[tuple], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(health, "_FIRST_PAUSE_S", 0.01)
    with ServedLoader(silent, shards, **SETTINGS) as batches:
        assert contents(batches) == expected
        for _ in range(4):
            assert max(waits(batches)) < 0.75 * link.CONNECT_S


@pytest.mark.parametrize("error", ["NoSuchStream", "BadSample", "UserError"])
def test_a_server_that_refuses_a_request_has_not_failed(
    error: str, served: Server, shards: Path, expected: list[tuple]
):
    n_refused = 0

    def refuse(request: dict, frames: Frames) -> Frames:
        nonlocal n_refused
        if request["ask"] != "get" or n_refused >= 2:
            return frames
        n_refused += 1
        return [frames[0], encode({"error": error, "message": "once"})]

    with Middle(served, refuse) as middle, ServedLoader(middle.address, shards, **SETTINGS) as batches:
        assert contents(batches) == expected
        assert n_refused == 2
        assert batches._servers._servers[middle.address].health.n_failures == 0


def test_a_server_that_failed_meanwhile_is_not_asked(
    served: Server, shards: Path, expected: list[tuple], monkeypatch: pytest.MonkeyPatch
):
    with (
        Middle(served) as middle,
        ServedLoader([served.address, middle.address], shards, num_workers=0, **SETTINGS) as batches,
    ):
        contents(batches)
        batches.set_epoch(0)
        servers, asked = batches._servers._servers, middle.asked.count("get")
        wait_for(lambda: not any(server.is_contacted for server in servers.values()))
        servers[middle.address].health.is_live = False
        both = [servers[middle.address], servers[served.address]]
        monkeypatch.setattr(batches._servers, "ready", lambda *_: both)
        assert contents(batches) == expected
        assert middle.asked.count("get") == asked


def test_addresses_that_servers_name_cost_no_time(
    silent: str, served: Server, shards: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(served, "addresses", [served.address, silent, "tcp://127.0.0.1:1"])
    monkeypatch.setattr(health, "_FIRST_PAUSE_S", 0.1)
    with ServedLoader(served.address, shards, **SETTINGS) as batches:
        for _ in range(8):
            assert max(waits(batches)) < link.CONNECT_S
        assert len(batches._servers._servers) == 3


def test_a_server_with_two_addresses_is_asked_once(served: Server, shards: Path, expected: list[tuple]):
    with ServedLoader([served.address, str(local_endpoint(served.address))], shards, **SETTINGS) as batches:
        assert contents(batches) == expected
        wait_for(lambda: all(server.health.is_live for server in batches._servers._servers.values()))
        batches._servers._contact(batches._stream)
        wait_for(lambda: all(batches._stream.digest in server.opened for server in batches._servers._servers.values()))
        assert len(batches._servers._servers) == 2
        assert len(batches._servers.ready(batches._stream, 0)) == 1


def test_all_threads_open_a_stream_together(served: Server, expected: list[tuple]):
    with Middle(served) as middle, ServedLoader(middle.address, **SETTINGS) as batches:
        assert contents(batches) == expected
        assert middle.asked.count("open") == 1
        assert middle.asked.count("hello") <= 2 + 4, "one to contact the server, twice, and one for each connection"
