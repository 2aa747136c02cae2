"""A server as a client sees it: which connections are used again, and how it comes back after a failure."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gtzan_stream.errors import UserError
from gtzan_stream.service import ServedLoader, health, loader
from gtzan_stream.service.link import Link, LinkRefused
from gtzan_stream.service.protocol import Header, ServiceError
from gtzan_stream.service.remote_server import RemoteServer
from gtzan_stream.service.server import Server
from tests.service_programs import Frames, Middle, threaded
from tests.waiting import wait_for

SETTINGS: dict[str, Any] = {"batch_size": 4, "crops_per_clip": 4, "augment": "none", "seed": 3}


@pytest.fixture(scope="module")
def served(shards: Path) -> Iterator[Server]:
    with threaded(shards) as server:
        yield server


@pytest.fixture
def batches(served: Server) -> Iterator[ServedLoader]:
    with ServedLoader(served.address, **SETTINGS) as loader:
        yield loader


@pytest.fixture
def remote(batches: ServedLoader) -> RemoteServer:
    (server,) = batches._servers._servers.values()
    server.close()  # the connections that were used until now
    return server


def n_idle(server: RemoteServer) -> int:
    return sum(map(len, server._idle.values()))


def test_an_idle_connection_is_used_again(remote: RemoteServer):
    link = remote.link(0)
    link.ask({"ask": "ping"})
    remote.keep(link, 0)
    assert n_idle(remote) == 1
    assert remote.link(0) is link
    link.close()


def test_a_connection_that_expects_a_reply_is_closed(remote: RemoteServer):
    link = remote.link(0)
    link.send({"ask": "ping"})
    remote.keep(link, 0)
    assert link._socket.closed
    assert n_idle(remote) == 0


def test_a_connection_from_before_a_failure_is_closed(remote: RemoteServer):
    kept, link = remote.link(0), remote.link(0)
    remote.keep(kept, 0)
    remote.fail(ServiceError("it is off"), 0)
    later = remote.link(1)
    remote.keep(later, 1)
    remote.keep(link, 0)
    assert kept._socket.closed
    assert link._socket.closed
    assert remote.link(1) is later
    later.close()


def test_a_trainer_waits_for_a_server_that_comes_back_with_other_keys(
    remote: RemoteServer, monkeypatch: pytest.MonkeyPatch
):
    def refuse() -> Link:
        raise LinkRefused("it needs keys")

    monkeypatch.setattr(remote, "_connect", refuse)
    for instance, n_failures, n_refusals in ((remote.instance, 1, 0), ("", 1, 1)):
        remote.instance, remote.health.is_live = instance, False
        remote.contact_if_due(None, now=True)
        wait_for(lambda: not remote.is_contacted)
        assert (remote.health.n_failures, len(remote.health.refusals)) == (n_failures, n_refusals)


def test_without_room_for_a_thread_a_server_has_failed(remote: RemoteServer, monkeypatch: pytest.MonkeyPatch):
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    remote.health.is_live = False
    remote.contact_if_due(None, now=True)
    monkeypatch.undo()
    assert not remote.is_contacted
    assert str(remote.health.error) == "can't start new thread"


def test_own_batches_are_compared_when_a_server_has_answered_first(shards: Path, served: Server):
    with ServedLoader("127.0.0.1:1", shards, strict=True, **SETTINGS) as batches:
        list(batches)
        batches._servers.terms._probes[batches._stream.digest] = ("a server that came and went", "another digest")
        batches.set_epoch(1)
        with pytest.raises(UserError, match="the servers computed other bits than this machine"):
            list(batches)


@pytest.mark.parametrize("what", ["the server fails", "the loader is closed"])
def test_a_connection_is_closed_if_meanwhile(what: str, remote: RemoteServer):
    def meanwhile() -> None:
        if what == "the loader is closed":
            remote._terms.closed = True
        else:
            remote.health.n_failures += 1

    class Idle(list):
        def append(self, link: Any) -> None:
            super().append(link)
            meanwhile()

    link = remote.link(0)
    remote._idle.default_factory = Idle
    remote._idle.clear()
    remote.keep(link, 0)
    assert link._socket.closed


def test_a_server_that_works_again_is_told_and_pauses_from_the_start(
    served: Server, shards: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(health, "_FIRST_PAUSE_S", 0.0)
    with ServedLoader(served.address, shards, **SETTINGS) as batches:
        n_batches = len(list(batches))
        (server,) = batches._servers._servers.values()
        for n in range(3):
            server.fail(ServiceError("it is off"), n)
        server.health._pause_s = 0.04
        server.contact_if_due(batches._stream, now=True)
        wait_for(lambda: server.health.is_live and not server.is_contacted)
        server.health.note_works(2)  # a batch from before the last failure
        assert server.health.error is not None
        batches.set_epoch(1)
        assert len(list(batches)) == n_batches
        assert (server.health.error, server.health._pause_s) == (None, 0.0)
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"the server at {served.address} {what}" for what in ("failed (it is off)", "works again")]


def test_a_user_is_told_once_that_no_server_is_left(shards: Path, caplog: pytest.LogCaptureFixture):
    with ServedLoader("127.0.0.1:1", shards, **SETTINGS) as batches:
        for each in (batches, batches, batches.evaluation(None)):
            assert len(list(each)) == len(each)
    assert caplog.text.count("no server of the feature service is left: making batches here") == 1


def test_a_user_is_told_that_a_batch_waits_for_a_server(
    shards: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loader, "_WITHOUT_SERVER_S", 0.5)
    monkeypatch.setattr(loader, "_SILENT_S", 0.1)
    with threaded(shards) as server, ServedLoader(server.address, **SETTINGS) as batches:
        server.stop()
        with pytest.raises(UserError, match=r"could be used for 0\.5 s .*give shards= \(--shards\)"):
            list(batches)
    assert caplog.text.count("no server can be used: waiting up to 0.5 s for one") == 1


def test_the_batch_at_which_a_server_failed_is_asked_for_before_it_is_used_again(served: Server, shards: Path):
    failing = True
    asked: list[tuple[str, Any]] = []

    def fail(request: Header, frames: Frames) -> Frames:
        asked.append((request["ask"], request.get("number")))
        return [frames[0], b"{}"] if failing and request["ask"] == "get" else frames

    with Middle(served, fail) as middle, ServedLoader(middle.address, shards, **SETTINGS) as batches:
        list(batches)
        server = batches._servers._servers[middle.address]
        wait_for(lambda: not server.is_contacted)
        assert server.health.error is not None
        failing = False
        asked.clear()
        server.contact_if_due(None, now=True)
        wait_for(lambda: server.health.is_live and not server.is_contacted)
        assert asked == [("hello", None), ("open", None), ("get", 0)]
        asked.clear()
        server.health.is_live = False
        server.contact_if_due(None, now=True)
        wait_for(lambda: server.health.is_live and not server.is_contacted)
        assert asked == [("hello", None)]
