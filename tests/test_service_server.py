"""A server of the feature service: what it answers, and which requests it refuses, without ending or growing."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtzan_stream import __version__
from gtzan_stream.loader import Loader
from gtzan_stream.service.protocol import VERSION
from gtzan_stream.service.server import Server
from gtzan_stream.service.stream import Stream
from tests.service_programs import Caller, get, stream_of, threaded


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


def test_a_server_says_what_it_is(caller: Caller, served: Server, stream: Stream):
    hello = caller.ask({"ask": "hello"})
    assert hello["protocol"] == VERSION
    assert hello["version"] == __version__
    assert hello["manifest_digest"] == stream.manifest_digest
    assert hello["addresses"] == [served.address]
    assert len(hello["instance"]) == 32
    assert caller.ask({"ask": "hello"})["instance"] == hello["instance"]


def test_a_batch_is_that_of_a_loader(caller: Caller, stream: Stream, shards: Path):
    assert opened(caller, stream)["stream"] == stream.digest
    caller.send(get(stream, epoch=2, number=3), b"some id")
    request_id, header, frames = caller.receive()
    with Loader(shards, batch_size=4, crops_per_clip=4, augment="none") as loader:
        batch = loader.make_at(2, 3)
    assert request_id == b"some id"
    assert header["keys"] == batch.keys
    assert header["arrays"].startswith(f"features <f4 {'x'.join(map(str, batch.features.shape))}, labels <i8 ")
    assert frames[0] == batch.features.numpy().tobytes()


def test_a_ping_says_how_much_was_finished(caller: Caller, stream: Stream):
    before = caller.ask({"ask": "ping"})["done"]
    opened(caller, stream)
    caller.ask(get(stream))
    assert caller.ask({"ask": "ping"})["done"] == before + 2


# --- requests that are refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"epoch": -1}, "epoch must be at least 0"),
        ({"epoch": 2**62}, "epoch must be at most"),
        ({"epoch": 1.5}, "epoch must be a whole number"),
        ({"epoch": True}, "epoch must be a whole number"),
        ({"epoch": None}, "epoch must be a whole number"),
        ({"number": "0"}, "number must be a whole number"),
        ({"number": -1}, "number must be at least 0"),
        ({"number": 10**6}, "number must be at most"),
        ({"rank": 1}, "rank must be at most 0"),
        ({"rank": [0]}, "rank must be a whole number"),
        ({"world_size": 0}, "world_size must be at least 1"),
        ({"world_size": 5}, "world_size must be at most 4"),
        ({"world_size": {}}, "world_size must be a whole number"),
    ],
)
def test_numbers_out_of_range_are_refused(caller: Caller, stream: Stream, place: dict, message: str):
    opened(caller, stream)
    answer = caller.ask(get(stream, **place))
    assert answer["error"] == "UserError"
    assert message in answer["message"]


@pytest.mark.parametrize("digest", [None, 3, "x", [], {}, "0" * 32])
def test_a_stream_that_is_not_open_is_reported(caller: Caller, stream: Stream, digest: object):
    assert caller.ask({**get(stream), "stream": digest})["error"] == "NoSuchStream"


@pytest.mark.parametrize("ask", [None, 1, [], {}, "", "run", "close", "__init__"])
def test_an_unknown_request_is_refused(caller: Caller, ask: object):
    answer = caller.ask({"ask": ask})
    assert answer["error"] == "ServiceError"
    assert "not for one of get, open, ping, hello, stats, file" in answer["message"]


@pytest.mark.parametrize("change", [{"batch_size": 0}, {"batch_size": 2**62}, {"mixup": -1.0}, {"part": "no"}])
def test_a_stream_out_of_range_is_refused(caller: Caller, stream: Stream, change: dict):
    answer = caller.ask({"ask": "open", "stream": {**stream.to_dict(), **change}})
    assert answer["error"] == "UserError"


@pytest.mark.parametrize("settings", [None, 3, "x", [], {}, {"x": 1}])
def test_what_is_not_a_stream_is_refused(caller: Caller, settings: object):
    assert caller.ask({"ask": "open", "stream": settings})["error"] == "UserError"


def test_a_stream_of_other_shards_is_refused(caller: Caller, stream: Stream):
    answer = caller.ask({"ask": "open", "stream": {**stream.to_dict(), "manifest_digest": "0" * 64}})
    assert "serve the same shards" in answer["message"]


@pytest.mark.parametrize("name", ["demo-000000.tar", "../manifest.json", "/etc/passwd", "", None, ["manifest.json"]])
def test_only_files_of_the_manifest_are_sent(caller: Caller, name: object):
    answer = caller.ask({"ask": "file", "name": name, "offset": 0})
    assert answer["error"] == "UserError"
    assert "sends manifest.json, samples.parquet and splits.parquet" in answer["message"]


def test_a_file_is_sent_in_parts(caller: Caller, shards: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gtzan_stream.service.server.FILE_BYTES", 100)
    content = (shards / "samples.parquet").read_bytes()
    caller.send({"ask": "file", "name": "samples.parquet", "offset": 50})
    _, header, frames = caller.receive()
    assert header["size"] == len(content)
    assert frames == [content[50:150]]
    caller.send({"ask": "file", "name": "samples.parquet", "offset": 2**61})
    assert caller.receive()[2] == [b""]


def test_messages_that_are_no_requests_are_dropped(caller: Caller):
    for frames in ([b""], [b"1"], [b"x" * 65, b"{}"], [b"1", b"{}", b""], [b""] * 500):
        caller.socket.send_multipart(frames)
    assert "done" in caller.ask({"ask": "ping"})


def test_the_name_of_a_client_is_one_short_line(caller: Caller, served: Server, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    for name in ("a\nb\x1b[2J" * 1000, {"x": [1] * 1000}, 5, None):
        caller.ask({"ask": "ping", "client": name})
        caller.ask({"ask": "none", "client": name})
    for client in served.stats()["clients"]:
        assert client["client"].isprintable()
        assert len(client["client"]) < 300
    assert all(record.getMessage().isprintable() for record in caplog.records)


def test_an_error_of_the_server_itself_is_an_answer_and_is_logged(
    served: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail() -> dict:
        raise ZeroDivisionError("surprise")

    monkeypatch.setattr(served, "stats", fail)
    assert caller.ask({"ask": "stats"}) == {"error": "ServiceError", "message": "ZeroDivisionError: surprise"}
    assert "ZeroDivisionError" in caplog.text
    assert "done" in caller.ask({"ask": "ping"})
