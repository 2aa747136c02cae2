"""A server in an actor, without Ray."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from gtzan_stream.errors import UserError
from gtzan_stream.service import server_actor
from gtzan_stream.service.keys import make_keys, secure_client, server_files
from gtzan_stream.service.protocol import decode, encode
from gtzan_stream.service.server import Server
from gtzan_stream.service.server_actor import ServerActor

SETTINGS = {"keys": {}, "verbose": False, "device": "cpu", "cache_mb": 16, "allow": []}


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when an actor has ended its process, which it does not do here."""
    ended = threading.Event()
    monkeypatch.setattr(server_actor.os, "_exit", lambda status: ended.set())
    return ended


@pytest.fixture
def actor(shards: Path, ended: threading.Event, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerActor]:
    monkeypatch.setattr(server_actor, "_LOOK_S", 0.05)
    actor = ServerActor(shards=str(shards), **SETTINGS)
    yield actor
    if not ended.is_set():
        actor._server.stop()
    assert ended.wait(5)


def _hello(address: str, keys: Path | None = None, wait_ms: int = 5000) -> dict | None:
    """Ask a server what it is. None if it does not answer."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as client:
        client.set(zmq.LINGER, 0)
        if keys:
            secure_client(client, keys)
        client.connect(address)
        client.send_multipart([b"1", encode({"ask": "hello"})])
        return decode(client.recv_multipart()[1]) if client.poll(wait_ms) else None


def test_actor_serves_and_passes_on_addresses(actor: ServerActor) -> None:
    report = actor.serve("tcp://127.0.0.1:*", [])
    address = report.pop("address")
    assert report == {"dataset": actor._server.manifest.dataset, "clips": 11, "device": "cpu", "pid": os.getpid()}
    assert _hello(address)["addresses"] == [address]
    assert actor.serve(address, [address, "tcp://10.0.0.7:5690"])["address"] == address
    assert _hello(address)["addresses"] == [address, "tcp://10.0.0.7:5690"]


def test_port_in_use_is_replaced(actor: ServerActor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        address = actor.serve(taken, [])["address"]
    assert address != taken
    assert _hello(address)["addresses"] == [address]


def test_server_that_fails_ends_the_process(
    shards: Path, ended: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "run", Server.close)
    ServerActor(shards=str(shards), **SETTINGS).serve("tcp://127.0.0.1:*", [])
    assert ended.wait(5)


def test_actor_that_is_not_called_any_more_ends(
    actor: ServerActor, ended: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_actor, "_LEASE_S", 1.0)
    address = actor.serve("tcp://127.0.0.1:*", [])["address"]
    for _ in range(6):
        time.sleep(0.3)
        actor.serve(address, [])
    assert not ended.is_set()
    assert ended.wait(5)


def test_missing_shards_are_an_error_each_time(tmp_path: Path) -> None:
    actor = ServerActor(shards=str(tmp_path / "none"), **SETTINGS)
    for _ in range(2):
        with pytest.raises(UserError, match="none"):
            actor.serve("tcp://127.0.0.1:*", [])


def test_keys_are_passed_on_and_leave_no_file(
    shards: Path, ended: threading.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_keys(tmp_path / "keys")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(server_actor.tempfile, "tempdir", str(tmp_path / "temporary"))
    files = server_files(tmp_path / "keys")
    assert set(files) == {"server.key_secret", "client.key"}
    actor = ServerActor(shards=str(shards), **{**SETTINGS, "keys": files})
    address = actor.serve("tcp://127.0.0.1:*", [])["address"]
    try:
        assert _hello(address, tmp_path / "keys")["addresses"] == [address]
        make_keys(tmp_path / "others")
        (tmp_path / "others/server.key").write_bytes((tmp_path / "keys/server.key").read_bytes())
        assert _hello(address, tmp_path / "others", 500) is None
    finally:
        actor._server.stop()
    assert not list((tmp_path / "temporary").iterdir())
    assert ended.wait(5)
