"""Limits of a server, and how it starts and ends."""

import gc
import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq

from gtzan_stream.errors import UserError
from gtzan_stream.service.protocol import MAX_OPEN_REQUESTS
from gtzan_stream.service.server import Server
from gtzan_stream.service.stream import Stream
from gtzan_stream.service.streams import Reply
from tests.service_programs import Caller, connect_as_client, get, stream_of, threaded
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def served(shards: Path) -> Iterator[Server]:
    with threaded(shards) as server:
        yield server


@pytest.fixture
def caller(served: Server) -> Iterator[Caller]:
    with Caller(served.address) as caller:
        yield caller


@pytest.fixture(scope="module")
def stream(shards: Path) -> Stream:
    return stream_of(shards)


def opened(caller: Caller, stream: Stream) -> dict:
    return caller.ask({"ask": "open", "stream": stream.to_dict()})


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_connection_with_too_many_open_requests_is_busy(served: Server, stream: Stream):
    with Caller(served.address) as caller, Caller(served.address) as other:
        opened(caller, stream)
        for i in range(30):
            caller.send(get(stream, epoch=100 + i), str(i).encode())
        assert "stream" in opened(other, stream), "others are served meanwhile"
        answers = dict(caller.receive()[:2] for _ in range(30))
        busy = [header for header in answers.values() if header.get("error") == "Busy"]
        assert len(answers) == 30
        assert 1 <= len(busy) <= 30 - MAX_OPEN_REQUESTS
        assert all("keys" in answers[str(i).encode()] for i in range(MAX_OPEN_REQUESTS))
        assert "keys" in caller.ask(get(stream)), "and it goes on when they are done"


def n_batches() -> int:
    """Count the batches that servers in this process keep."""
    return sum(type(each) is Reply and each.n_bytes > 100_000 for each in gc.get_objects())


def test_a_batch_that_has_left_the_cache_is_freed_at_once(shards: Path, stream: Stream):
    with threaded(shards, cache_mb=1) as server, Caller(server.address) as caller:
        opened(caller, stream)
        before = n_batches()
        gc.disable()
        try:
            sizes = [len(b"".join(caller.ask_all(get(stream, epoch=i)))) for i in range(30)]
            kept = n_batches() - before
        finally:
            gc.enable()
        assert min(sizes) > 100_000
        assert 1 <= kept <= 1e6 / min(sizes) + 2, "those of the cache, and of the last request"


def test_batches_of_clients_that_have_gone_are_no_problem(served: Server, stream: Stream, caller: Caller):
    for i in range(5):
        with Caller(served.address) as gone:
            opened(gone, stream)
            for k in range(10):
                gone.send(get(stream, epoch=200 + i, number=k))
            assert gone.receive()
    assert "keys" in caller.ask(get(stream))
    wait_for(lambda: not served._replies._n_open)


def test_a_message_that_is_too_long_ends_its_connection(served: Server, caller: Caller):
    with Caller(served.address) as long:
        events = long.socket.get_monitor_socket(zmq.Event.DISCONNECTED)
        long.send(b'{"a": "' + b"b" * 2**21 + b'"}')
        assert events.poll(5000)
    assert "done" in caller.ask({"ask": "ping"})


def test_a_connection_to_a_machine_that_has_vanished_is_closed(shards: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gtzan_stream.service.server._HEARTBEAT_MS", 100)
    with threaded(shards) as server, connect_as_client(server.address) as connection:
        while connection.recv(1000):  # until it is closed, as the server's heartbeats are not answered
            continue


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\xff" + b"\0" * 8 + b"\x7f" + b"\xff" * 1000]
)
def test_other_protocols_are_no_problem(served: Server, caller: Caller, data: bytes):
    host, port = served.address.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(data)
        assert "done" in caller.ask({"ask": "ping"})


def test_streams_that_were_used_last_stay_open(shards: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gtzan_stream.service.streams._MAX_STREAMS", 3)
    with threaded(shards) as server, Caller(server.address) as caller:
        streams = [stream_of(shards, seed=seed) for seed in range(5)]
        for stream in streams:
            assert "probe" in opened(caller, stream)
            assert "keys" in caller.ask(get(streams[0])), "it is in use"
        assert len(server.stats()["streams"]) == 3
        assert caller.ask(get(streams[1]))["error"] == "NoSuchStream"
        assert "probe" in opened(caller, streams[1])
        assert "keys" in caller.ask(get(streams[1]))


def test_a_stream_can_be_closed_while_its_batches_are_made(shards: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gtzan_stream.service.streams._MAX_STREAMS", 1)
    with threaded(shards) as server, Caller(server.address) as caller:
        stream = stream_of(shards, augment="study")
        opened(caller, stream)
        for number in range(10):
            caller.send(get(stream, number=number))
        with Caller(server.address) as other:
            opened(other, stream_of(shards, seed=1))
        assert all("keys" in caller.receive()[1] for _ in range(10))


def test_the_list_of_clients_is_bounded(served: Server, caller: Caller):
    for i in range(1100):
        caller.socket.send_multipart([b"1", json.dumps({"ask": "ping", "client": f"client {i}"}).encode()])
        caller.receive()
    assert len(served.stats()["clients"]) <= 1000


# --- faults of shards, starting and ending ----------------------------------------------------------------------------


def test_a_server_whose_shards_are_gone_says_so(shards: Path, tmp_path: Path):
    copy = shutil.copytree(shards, tmp_path / "copy")
    with threaded(copy) as server, Caller(server.address) as caller:
        opened(caller, stream_of(shards, batch_size=1, crops_per_clip=1))
        shutil.rmtree(copy)
        answers = [caller.ask(get(stream_of(shards, batch_size=1, crops_per_clip=1), number=i)) for i in range(11)]
        errors = [answer for answer in answers if "error" in answer]
        assert errors, "shards that are open already can still be read"
        assert all(error["error"] in ("UserError", "BadSample") for error in errors)
        assert all(str(copy) in error["message"] for error in errors)
        for header in ({"ask": "file", "name": "manifest.json", "offset": 0}, {"ask": "open", "stream": None}):
            header["stream"] = stream_of(shards, seed=5).to_dict()
            answer = caller.ask(header)
            assert answer["error"] == "ServiceError"
            assert "FileNotFoundError" in answer["message"]


def test_an_address_in_use_is_one_line(served: Server, shards: Path):
    with pytest.raises(UserError, match=r"cannot listen at .*choose another address with --listen"):
        Server(shards, served.address)


def test_the_path_of_another_server_is_not_taken(shards: Path, tmp_path: Path):
    address = f"ipc://{tmp_path}/service"
    for _ in range(2):  # the second one finds the file of the first
        with threaded(shards, listen=address) as server, Caller(address) as caller:
            with pytest.raises(UserError, match=f"^cannot listen at {address}: another program does; choose another"):
                Server(shards, address)
            assert caller.ask({"ask": "stats"})["address"] == server.address
        (tmp_path / "service").touch()
    with pytest.raises(UserError, match=r"^cannot listen at ipc://.*too long; choose another"):
        Server(shards, address + "x" * 200)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_transform", "^--allow 'own_transform': write module:function"),
        ("no_such_module_at_all:Echo", "^--allow no_such_module_at_all:Echo: No module named"),
        ("os:nope", "^--allow os:nope: .*nope"),
    ],
)
def test_a_name_that_cannot_be_imported_is_refused_at_the_start(shards: Path, name: str, message: str):
    with pytest.raises(UserError, match=message):
        Server(shards, "tcp://127.0.0.1:*", allow=[name])


def test_other_machines_need_keys(shards: Path):
    with pytest.raises(UserError, match="needs keys"):
        Server(shards, "tcp://0.0.0.0:5699")


def test_a_server_without_a_folder_for_its_unix_socket_uses_tcp(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for folder in (tmp_path / ("long" * 30), tmp_path / "none" / "none"):
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        (tmp_path / ("long" * 30)).mkdir(exist_ok=True)
        with threaded(shards) as server, Caller(server.address) as caller:
            assert "done" in caller.ask({"ask": "ping"})


def test_a_server_ends_while_it_makes_batches(shards: Path, stream: Stream):
    before = set(threading.enumerate())
    with threaded(shards) as server, Caller(server.address) as caller:
        opened(caller, stream)
        for i in range(10):
            caller.send(get(stream, epoch=i))
    wait_for(lambda: set(threading.enumerate()) <= before)
    server.stop()  # once more, as a second signal would


def test_a_signal_that_does_not_interrupt_the_wait_ends_a_server(shards: Path):
    server = Server(shards, "tcp://127.0.0.1:*")
    before = signal.signal(signal.SIGUSR1, lambda *_: server.stop())
    too_late = threading.Timer(10, server.stop)
    too_late.start()
    send = lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)  # noqa: E731  # to another thread
    threading.Timer(0.3, send).start()
    begun = time.monotonic()
    server.run()
    too_late.cancel()
    signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - begun < 5


def test_features_are_little_endian_float32(caller: Caller, stream: Stream):
    opened(caller, stream)
    caller.send(get(stream))
    _, header, frames = caller.receive()
    assert header["arrays"].startswith("features <f4 ")
    assert np.isfinite(np.frombuffer(frames[0], "<f4")).all()
