"""A loader whose servers send damaged replies, hang, or are other servers: equal batches, or one UserError."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader
from gtzan_stream.service import ServedLoader, link, loader
from gtzan_stream.service.protocol import decode, encode
from gtzan_stream.service.server import Server
from tests.service_programs import Change, Frames, Middle, threaded

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


def with_header(**fields: Any) -> Change:
    return of_get(lambda frames: [frames[0], encode({**decode(frames[1]), **fields}), *frames[2:]])


def earlier() -> Change:
    """Send the reply to an earlier request for a batch."""
    replies: list[Frames] = []

    def change(frames: Frames) -> Frames:
        replies.append(frames)
        return replies[0]

    return of_get(change)


DAMAGED: dict[str, Change] = {
    "an earlier reply": earlier(),
    "another id": of_get(lambda frames: [b"other", *frames[1:]]),
    "no id": of_get(lambda frames: frames[1:]),
    "only an id": of_get(lambda frames: frames[:1]),
    "no arrays": of_get(lambda frames: frames[:2]),
    "one array less": of_get(lambda frames: frames[:-1]),
    "a frame more": of_get(lambda frames: [*frames, b"x"]),
    "truncated": of_get(lambda frames: [*frames[:-1], frames[-1][:-8]]),
    "longer": of_get(lambda frames: [*frames[:-1], frames[-1] + b"12345678"]),
    "no JSON": of_get(lambda frames: [frames[0], b"\xff{", *frames[2:]]),
    "a list": of_get(lambda frames: [frames[0], b"[]", *frames[2:]]),
    "deep": of_get(lambda frames: [frames[0], b'{"a":' * 500 + b"1" + b"}" * 500, *frames[2:]]),
    "empty": of_get(lambda frames: [frames[0], b"{}", *frames[2:]]),
    "other shapes": with_header(arrays="features <f4 1"),
    "objects": with_header(arrays="features |O 1"),
    "too few keys": with_header(keys=["a"]),
    "keys of another type": with_header(keys=[1, 2, 3, 4]),
    "no list of keys": with_header(keys="abcd"),
    "skipped of another type": with_header(skipped=[1]),
    "an unknown error": with_header(error="SystemExit", message="x"),
    "an error of another type": with_header(error=[1], message={"a": 1}),
    "no such stream": with_header(error="NoSuchStream", message="x"),
    "busy": with_header(error="Busy", message="x"),
    "hello without addresses": of_hello(addresses=None),
    "hello with wrong addresses": of_hello(addresses=["a b"]),
    "hello without an instance": of_hello(instance=None),
    "hello with another type of digest": of_hello(manifest_digest=1),
    "another version": of_hello(protocol=99, version="9.9\n"),
    "other clips": of_hello(manifest_digest="0" * 64),
    "no answer": lambda request, frames: None,
    "pongs only": lambda request, frames: None if request["ask"] == "get" else frames,
    "hello and pongs only": lambda request, frames: frames if request["ask"] in ("hello", "ping") else None,
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", DAMAGED)
def test_another_server_replaces_one_that_is_damaged(name: str, served: Server, shards: Path, expected: list[tuple]):
    with Middle(served, DAMAGED[name]) as middle:
        with ServedLoader([middle.address, served.address], shards, **SETTINGS) as batches:
            assert contents(batches) == expected
        assert middle.asked


IN_GATE = ("truncated", "another version")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in IN_GATE else pytest.mark.slow) for name in DAMAGED]
)
def test_a_server_that_is_damaged_alone_is_one_error(name: str, served: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gtzan_stream.service.manifest._START_S", 0.5)
    monkeypatch.setattr("gtzan_stream.service.manifest._latest", {})
    begun = time.monotonic()
    with (
        Middle(served, DAMAGED[name]) as middle,
        pytest.raises(UserError) as caught,
        ServedLoader(middle.address, **SETTINGS) as batches,
    ):
        contents(batches)
    assert time.monotonic() - begun < 10
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.usefixtures("quick")
def test_a_header_that_is_too_large_is_refused(
    served: Server,
    shards: Path,
    expected: list[tuple],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(link, "MAX_REPLY_BYTES", 1 << 20)
    change = of_get(lambda frames: [frames[0], b" " * (2 << 20) + frames[1], *frames[2:]])
    with Middle(served, change) as middle, ServedLoader(middle.address, shards, **SETTINGS) as batches:
        assert contents(batches) == expected
    assert "failed (the connection has ended)" in caplog.text


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


def test_a_stream_is_opened_after_another_that_takes_long(
    served: Server, shards: Path, expected: list[tuple], caplog: pytest.LogCaptureFixture
):
    opened = threading.Event()

    def slowly(request: dict[str, Any], frames: Frames) -> Frames:
        if request["ask"] == "open" and not opened.is_set():
            opened.set()
            time.sleep(0.5)
        return frames

    with (
        Middle(served, slowly) as middle,
        ServedLoader(middle.address, shards, **SETTINGS, num_workers=0) as batches,
    ):
        thread = threading.Thread(target=lambda: next(iter(batches)))
        thread.start()
        assert opened.wait(10)
        assert list(batches.evaluation())
        thread.join()
    assert "making batches here" not in caplog.text


# --- limits of this process -------------------------------------------------------------------------------------------


def test_a_process_may_be_connected_to_hundreds_of_servers(served: Server):
    connection = link.Link(served.address, client="x")
    assert connection._socket.context.get(zmq.MAX_SOCKETS) >= 4 * 1024
    connection.close()


@pytest.mark.usefixtures("quick")
def test_without_sockets_for_connections_batches_are_made_here(
    served: Server, shards: Path, expected: list[tuple], monkeypatch: pytest.MonkeyPatch
):
    for n_sockets in range(1, 5):
        context = zmq.Context()
        context.set(zmq.MAX_SOCKETS, n_sockets)
        with ServedLoader(served.address, shards, **SETTINGS) as batches:
            list(batches)
            batches.set_epoch(0)
            for server in batches._servers._servers.values():
                server.close()
            with monkeypatch.context() as patch:
                patch.setattr(link, "_contexts", {os.getpid(): context})
                assert contents(batches) == expected
                batches._servers.close()
        context.destroy(linger=0)
