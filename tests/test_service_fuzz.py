"""A server refuses whatever arrives at its port, does not grow, and goes on making the correct batches."""

import json
import random
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

from gtzan_stream.loader import Loader
from gtzan_stream.service import ServedLoader
from gtzan_stream.service.stream import Stream
from tests.conftest import MANY, TEST_ALL
from tests.served_cases import digest_of
from tests.service_programs import Caller, ServerProcess, connect, connect_as_client, get, processes, stream_of

SETTINGS: dict[str, Any] = {"batch_size": 4, "crops_per_clip": 4, "augment": "none"}
N = 3000 if TEST_ALL else 150
GROWTH_MB = 30


@pytest.fixture(scope="module")
def server(shards: Path) -> Iterator[ServerProcess]:
    with processes(shards, 1, cache_mb=20) as (server,):
        with ServedLoader(server.address, **SETTINGS) as loader:  # so that it has what it needs for batches
            digest_of(loader)
        yield server


@pytest.fixture
def serves_as_before(server: ServerProcess, shards: Path) -> Iterator[None]:
    """Check after a test that the server lives, answers within a second, has not grown, and makes correct batches."""
    before = server.rss_mb()
    yield
    with Caller(server.address) as caller:
        begun = time.monotonic()
        assert "done" in caller.ask({"ask": "ping"})
        assert time.monotonic() - begun < 1
    assert server.rss_mb() - before < GROWTH_MB
    with ServedLoader(server.address, **SETTINGS) as loader, Loader(shards, **SETTINGS) as local:
        assert digest_of(loader) == digest_of(local)


def test_bytes_that_are_written_by_hand_reach_the_server(server: ServerProcess):
    with connect_as_client(server.address) as connection:
        connection.sendall(b"\x01\x011" + b'\x00\x0f{"ask": "ping"}')
        received = b""
        while b'{"done":' not in received:
            data = connection.recv(1000)
            assert data, "the connection was closed"
            received += data


@pytest.mark.usefixtures("serves_as_before")
def test_random_bytes(server: ServerProcess):
    rng = random.Random(1)
    for i in range(N // 3):
        data = rng.randbytes(rng.choice([1, 9, 10, 64, 65, 300, 5000]))
        start = rng.choice([connect, connect_as_client])
        with start(server.address) as connection, suppress(OSError):
            connection.sendall(data)
            if i % 10 == 0:
                connection.settimeout(0.05)
                connection.recv(100)


@pytest.mark.usefixtures("serves_as_before")
@pytest.mark.parametrize("flags", [2, 3], ids=["one frame", "more frames"])
def test_lengths_that_are_announced_are_not_allocated(server: ServerProcess, flags: int):
    connections, before = [], server.rss_mb()
    for size in (2**63 - 1, 2**62, 2**40, 2**31, 2**20 + 1, *[2**20] * 40):
        connection = connect_as_client(server.address)
        connections.append(connection)
        with suppress(OSError):  # closed by the server
            connection.sendall(bytes([flags]) + struct.pack(">Q", size) + b"x" * 100)
    time.sleep(0.3)
    assert server.rss_mb() - before < GROWTH_MB
    for connection in connections:
        connection.close()


def value(rng: random.Random, depth: int = 0) -> Any:
    """Return a random JSON value."""
    kind = rng.randrange(10 if depth < 5 else 7)
    simple = [None, True, rng.randrange(-5, 5), rng.choice([2**31, 2**62, -(2**62)]), rng.uniform(-1, 1), "", "x" * 50]
    if kind < 7:
        return simple[kind]
    items = [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return (
        items if kind == 7 else {rng.choice(["ask", "stream", "class", "a"]) + str(i): x for i, x in enumerate(items)}
    )


def mutated(valid: Any, rng: random.Random) -> Any:
    """Return a message with one value replaced, removed or added, at any depth."""
    if not isinstance(valid, dict) or not valid or rng.random() < 0.15:
        return value(rng)
    copy = dict(valid)
    key = rng.choice(list(copy))
    change = rng.random()
    if change < 0.1:
        del copy[key]
    elif change < 0.2:
        copy[rng.choice(["x", "", "__class__", "é"])] = value(rng)
    else:
        copy[key] = mutated(copy[key], rng)
    return copy


BOMBS = [
    b"[" * 500_000,
    b'{"ask":' * 100_000,
    b'{"ask": "get", "stream": ' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"ask": "open", "stream": ' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}",
    b'{"ask": ' + b"9" * 900_000 + b"}",
    b'{"ask": "get", "epoch": 1e999}',
    b'{"ask": "get", "epoch": NaN}',
    b'{"ask": "\\ud800", "client": "\\udfff\\u0000"}',
    b'{"ask": "' + b"x" * 900_000 + b'"}',
    b"{" + b",".join(b'"%d": 1' % i for i in range(60_000)) + b"}",
    json.dumps({"ask": "ping", "client": ["x" * 1000] * 500}).encode(),
    b"\xef\xbb\xbf{}",
    b"\0" * 1000,
]


def messages(stream: Stream, rng: random.Random) -> Iterator[bytes]:
    """Yield bombs, and mutations of each valid request."""
    valid = [
        {"ask": "hello"},
        {"ask": "open", "stream": stream.to_dict()},
        get(stream),
        {"ask": "file", "name": "manifest.json", "offset": 0},
        {"ask": "stats", "client": "x"},
    ]
    yield from BOMBS
    for _ in range(N):
        message = rng.choice(valid)
        for _ in range(rng.randrange(1, 4)):
            message = mutated(message, rng)
        if "batch_size" not in json.dumps(message) or rng.random() < 0.3:  # opening streams takes long
            encoded = json.dumps(message).encode()
            if rng.random() < 0.2:
                position = rng.randrange(len(encoded))
                encoded = encoded[:position] + rng.randbytes(1) + encoded[position + 1 :]
            yield encoded


@pytest.mark.usefixtures("serves_as_before")
@pytest.mark.parametrize("seed", range(MANY))
def test_messages_that_are_almost_requests_are_answered(server: ServerProcess, shards: Path, seed: int):
    rng = random.Random(seed)
    with Caller(server.address) as caller:
        for i, message in enumerate(messages(stream_of(shards), rng)):
            caller.send(message, str(i).encode())
            request_id, header, _ = caller.receive(30)
            assert request_id == str(i).encode()
            if "error" in header:
                assert header["error"] in ("UserError", "ServiceError", "NoSuchStream", "BadSample"), header
                assert header["message"].isprintable()
                unexpected = (
                    "RecursionError",
                    "OverflowError",
                    "KeyError",
                    "AttributeError",
                    "IndexError",
                    "MemoryError",
                )
                assert not header["message"].startswith(unexpected), (message[:500], header)


@pytest.mark.usefixtures("serves_as_before")
def test_any_frames(server: ServerProcess):
    rng = random.Random(3)
    for _ in range(N // 20):
        context = zmq.Context()
        caller = context.socket(rng.choice([zmq.DEALER, zmq.REQ, zmq.ROUTER, zmq.REP, zmq.PUB, zmq.SUB, zmq.PUSH]))
        caller.set(zmq.LINGER, 0)
        caller.connect(server.address)
        time.sleep(0.01)
        for _ in range(20):
            frames = [rng.randbytes(rng.choice([0, 1, 5, 64, 65, 1000])) for _ in range(rng.randrange(1, 6))]
            with suppress(zmq.ZMQError):
                caller.send_multipart(frames, zmq.NOBLOCK)
        context.destroy(linger=0)
