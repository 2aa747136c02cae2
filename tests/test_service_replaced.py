"""Servers that fail, hang, are replaced, or compute other bits."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader
from gtzan_stream.service import ServedLoader, health, link, loader
from gtzan_stream.service.protocol import ServiceError, decode, encode
from gtzan_stream.service.server import Server
from tests.service_programs import Change, Middle, threaded
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


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short time-outs."""
    monkeypatch.setattr(link, "PING_AFTER_S", 0.05)
    monkeypatch.setattr(link, "PONG_S", 0.3)
    monkeypatch.setattr(link, "STUCK_S", 0.5)
    monkeypatch.setattr(link, "CONNECT_S", 0.3)
    monkeypatch.setattr(loader, "_WITHOUT_SERVER_S", 1.0)


def contents(batches: Any) -> list[tuple]:
    return [
        (b.keys, b.labels.tolist(), b.crops.tolist(), b.weights.tolist(), b.features.numpy().tobytes()) for b in batches
    ]


# --- damaged replies --------------------------------------------------------------------------------------------------


def of_get(change: Any) -> Change:
    """Change the replies to `get` only."""
    return lambda request, frames: change(frames) if request["ask"] == "get" else frames


def of_hello(**fields: Any) -> Change:
    return lambda request, frames: (
        [frames[0], encode({**decode(frames[1]), **fields})] if request["ask"] == "hello" else frames
    )


@pytest.mark.usefixtures("quick")
def test_a_server_that_replaces_another_is_looked_at(
    served: Server, shards: Path, tmp_path: Path, expected: list[tuple]
):
    hello: dict[str, Any] = {}
    change = lambda request, frames: of_hello(**hello)(request, frames)  # noqa: E731
    with Middle(served, change) as middle, ServedLoader(middle.address, shards, **SETTINGS) as batches:
        assert contents(batches) == expected
        server = batches._servers._servers[middle.address]
        server.close()  # its connections, as if it had been restarted
        hello.update(instance="another", manifest_digest="0" * 64)
        asked = middle.asked.count("get")
        batches.set_epoch(0)
        assert contents(batches) == expected
        assert middle.asked.count("get") == asked, "batches of another process are not used before it was contacted"
        assert not server.health.is_live


def test_a_connection_does_not_go_on_with_another_server():
    context = zmq.Context()

    def server(address: str) -> "zmq.Socket[bytes]":
        router = context.socket(zmq.ROUTER)
        router.set(zmq.LINGER, 0)
        router.bind(address)
        return router

    one = server("tcp://127.0.0.1:*")
    address = one.get_string(zmq.LAST_ENDPOINT)
    connection = link.Link(address, client="x")
    one.close()
    wait_for(lambda: not connection._socket.poll(0, zmq.POLLOUT))
    other = server(address)
    time.sleep(0.5)  # ZeroMQ would connect again
    with pytest.raises(link.LinkLost):
        connection.ask({"ask": "ping"})
    assert not other.poll(100)
    connection.close()
    context.destroy(linger=0)


def test_replies_are_taken_in_any_order(served: Server):
    connection = link.Link(served.address, client="x")
    requests = [connection.send({"ask": ask}) for ask in ("ping", "hello", "stats")]
    kinds = ["uptime_s", "protocol", "done"]
    for request, kind in zip(reversed(requests), kinds, strict=True):
        assert not connection.is_idle
        assert kind in connection.receive(request)[0]
    assert connection.is_idle
    connection.close()


@pytest.mark.usefixtures("quick")
def test_a_server_that_answers_no_pings_hangs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(link, "STUCK_S", 60.0)
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    connection = link.Link(f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}", client="x")
    begun = time.monotonic()
    with pytest.raises(link.LinkLost, match="it does not answer"):
        connection.ask({"ask": "get"})
    assert time.monotonic() - begun < 2
    connection.close()
    context.destroy(linger=0)


def test_a_failure_ends_all_requests_to_a_server_and_counts_once(served: Server, shards: Path, expected: list[tuple]):
    with (
        Middle(served, of_get(lambda frames: None)) as middle,
        ServedLoader(middle.address, shards, **SETTINGS) as batches,
    ):
        iterator = iter(batches)
        server = batches._servers._servers[middle.address]
        thread = threading.Thread(target=lambda: [next(iterator) for _ in range(len(expected))])
        thread.start()
        wait_for(lambda: middle.asked.count("get") == 4)
        for _ in range(2):
            server.fail(ServiceError("it is off"), 0)
        assert server.health._pause_s == health._FIRST_PAUSE_S
        thread.join(5)
        assert not thread.is_alive(), "batches are made here"


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_server_that_hangs_when_it_makes_batches_is_used_when_it_made_the_same_batch(
    served: Server, shards: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(health, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(health, "_LAST_PAUSE_S", 0.01)
    hangs, live = True, []
    with (
        Middle(served, of_get(lambda frames: None if hangs else frames)) as middle,
        ServedLoader(middle.address, shards, **SETTINGS) as batches,
    ):
        contents(batches)
        server, asked = batches._servers._servers[middle.address], middle.asked.count("get")

        def is_live() -> bool:
            server.contact_if_due(batches._stream)
            live.append(server.health.is_live)
            return server.health.is_live

        wait_for(lambda: is_live() or middle.asked.count("get") > asked + 2)
        assert not any(live)
        hangs = False
        wait_for(is_live)


@pytest.mark.parametrize("fields", [{"protocol": 99}, {"manifest_digest": "1" * 64}])
def test_servers_that_cannot_be_used_are_an_error_at_the_start(served: Server, shards: Path, fields: dict):
    match = "install the same version" if "protocol" in fields else "has other clips than those of .*shards"
    with Middle(served, of_hello(**fields)) as middle, pytest.raises(UserError, match=match):
        ServedLoader(middle.address, shards, **SETTINGS)


def probe(value: str | None) -> Change:
    return lambda request, frames: (
        [frames[0], encode({**decode(frames[1]), "probe": value})] if request["ask"] == "open" else frames
    )


def test_a_server_of_other_bits_is_named(served: Server, shards: Path, caplog: pytest.LogCaptureFixture):
    with (
        Middle(served, probe("x")) as middle,
        ServedLoader([served.address, middle.address], shards, **SETTINGS) as batches,
    ):
        contents(batches)
        wait_for(lambda: batches._stream.digest in batches._servers._servers[middle.address].opened)
    messages = [record.getMessage() for record in caplog.records if "other bits" in record.getMessage()]
    assert len(messages) == 1
    assert middle.address in messages[0]
    assert served.address in messages[0]


def test_strict_refuses_a_server_of_other_bits(served: Server, shards: Path, expected: list[tuple]):
    with (
        Middle(served, probe("x")) as middle,
        ServedLoader([served.address, middle.address], shards, strict=True, **SETTINGS) as batches,
    ):
        servers = batches._servers._servers.values()
        assert contents(batches) == expected
        wait_for(lambda: not any(server.is_contacted for server in servers))
        assert len([server for server in servers if server.health.refusals]) == 1
        usable = [server for server in servers if server.health.is_live and batches._stream.digest in server.opened]
        assert len(usable) == 1


def test_a_stream_that_strict_refuses_does_not_keep_others_from_a_server_that_had_failed(served: Server, shards: Path):
    def change(request: dict[str, Any], frames: list[Any]) -> list[Any]:
        return probe("x")(request, frames) if request.get("stream", {}).get("chunks", 1) is None else frames

    with (
        Middle(served, change) as middle,
        ServedLoader([served.address, middle.address], shards, strict=True, **SETTINGS) as batches,
    ):
        batches._servers.terms._probes[batches._stream.digest] = (served.address, "y")
        server = batches._servers._servers[middle.address]
        wait_for(lambda: not server.is_contacted)
        failed = {"ask": "get", "stream": batches._stream.digest, "epoch": 0, "number": 0, "rank": 0, "world_size": 1}
        server.fail(ServiceError("it is off"), server.health.n_failures, (batches._stream, failed))
        evaluation = batches.evaluation(None)._stream
        server.contact_if_due(evaluation, now=True)
        wait_for(lambda: not server.is_contacted)
        assert server.health.is_live
        assert server.opened == {evaluation.digest}
        server.contact_if_due(batches._stream, now=True)
        wait_for(lambda: not server.is_contacted)
        assert [*server.health.refusals] == [batches._stream.digest]


def test_a_stream_that_is_refused_does_not_delay_another(served: Server, shards: Path, expected: list[tuple]):
    def refuse(request: dict[str, Any], frames: list[Any]) -> list[Any]:
        is_refused = request["ask"] == "open" and request["stream"]["chunks"] is None
        return [frames[0], encode({"error": "UserError", "message": "not here"})] if is_refused else frames

    with Middle(served, refuse) as middle, ServedLoader(middle.address, shards, **SETTINGS) as batches:
        assert contents(batches) == expected
        assert "get" not in middle.asked
        evaluation = batches.evaluation(None)
        assert len(contents(evaluation)) == len(evaluation)
        assert middle.asked.count("get") == len(evaluation)
