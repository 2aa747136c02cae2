"""A loader whose servers send damaged replies, hang, or are other servers: equal batches, or one UserError."""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader
from gtzan_stream.service import ServedLoader, link, loader, remote_server
from gtzan_stream.service.addresses import local_endpoint
from gtzan_stream.service.protocol import ServiceError, decode, encode
from gtzan_stream.service.server import Server
from tests.conftest import MANY
from tests.service_programs import ROOT, Change, Frames, Middle, threaded

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
    "other shapes": with_header(arrays=[["features", "<f4", [1]]]),
    "objects": with_header(arrays=[["features", "|O", [1]]]),
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
    monkeypatch.setattr(remote_server, "_FIRST_PAUSE_S", 0.01)
    with ServedLoader(silent, shards, **SETTINGS) as batches:
        assert contents(batches) == expected
        for _ in range(4):
            assert max(waits(batches)) < 0.75 * link.CONNECT_S


def test_a_server_that_failed_meanwhile_is_not_asked(
    served: Server, shards: Path, expected: list[tuple], monkeypatch: pytest.MonkeyPatch
):
    with (
        Middle(served) as middle,
        ServedLoader([served.address, middle.address], shards, **SETTINGS) as batches,
    ):
        contents(batches)
        batches.set_epoch(0)
        servers, asked = batches._servers._servers, middle.asked.count("get")
        wait_for(lambda: not any(server.is_contacted for server in servers.values()))
        servers[middle.address].is_live = False
        both = [servers[middle.address], servers[served.address]]
        monkeypatch.setattr(batches._servers, "_ready", lambda *_: both)
        assert contents(batches) == expected
        assert middle.asked.count("get") == asked


def test_addresses_that_servers_name_cost_no_time(
    silent: str, served: Server, shards: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(served, "addresses", [served.address, silent, "tcp://127.0.0.1:1"])
    monkeypatch.setattr(remote_server, "_FIRST_PAUSE_S", 0.1)
    with ServedLoader(served.address, shards, **SETTINGS) as batches:
        for _ in range(8):
            assert max(waits(batches)) < link.CONNECT_S
        assert len(batches._servers._servers) == 3


def test_a_server_with_two_addresses_is_asked_once(served: Server, shards: Path, expected: list[tuple]):
    with ServedLoader([served.address, str(local_endpoint(served.address))], shards, **SETTINGS) as batches:
        assert contents(batches) == expected
        wait_for(lambda: all(server.is_live for server in batches._servers._servers.values()))
        batches._servers._contact(batches._stream)
        wait_for(lambda: all(batches._stream.digest in server.opened for server in batches._servers._servers.values()))
        assert len(batches._servers._servers) == 2
        assert len(batches._servers._ready(batches._stream, 0)) == 1


def wait_for(condition: Any, within_s: float = 10) -> None:
    latest = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < latest
        time.sleep(0.01)


def test_all_threads_open_a_stream_together(served: Server, expected: list[tuple]):
    with Middle(served) as middle, ServedLoader(middle.address, **SETTINGS) as batches:
        assert contents(batches) == expected
        assert middle.asked.count("open") == 1
        assert middle.asked.count("hello") <= 2 + 4, "one to contact the server, twice, and one for each connection"


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
        assert not server.is_live


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
            server._fail(ServiceError("it is off"), 0)
        assert server._pause_s == remote_server._FIRST_PAUSE_S
        thread.join(5)
        assert not thread.is_alive(), "batches are made here"


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_server_that_hangs_when_it_makes_batches_is_used_when_it_made_the_same_batch(
    served: Server, shards: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(remote_server, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(remote_server, "_LAST_PAUSE_S", 0.01)
    hangs, live = True, []
    with (
        Middle(served, of_get(lambda frames: None if hangs else frames)) as middle,
        ServedLoader(middle.address, shards, **SETTINGS) as batches,
    ):
        contents(batches)
        server, asked = batches._servers._servers[middle.address], middle.asked.count("get")

        def is_live() -> bool:
            server.contact_if_due(batches._stream)
            live.append(server.is_live)
            return server.is_live

        wait_for(lambda: is_live() or middle.asked.count("get") > asked + 2)
        assert not any(live)
        hangs = False
        wait_for(is_live)


@pytest.mark.parametrize("fields", [{"protocol": 99}, {"manifest_digest": "1" * 64}])
def test_servers_that_cannot_be_used_are_an_error_at_the_start(served: Server, shards: Path, fields: dict):
    match = "install the same version" if "protocol" in fields else "has other clips than those of .*shards"
    with Middle(served, of_hello(**fields)) as middle, pytest.raises(UserError, match=match):
        ServedLoader(middle.address, shards, **SETTINGS)


def test_a_manifest_that_is_not_the_one_named_is_refused(served: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gtzan_stream.service.manifest._latest", {})
    with (
        Middle(served, of_hello(manifest_digest="0" * 64)) as middle,
        pytest.raises(UserError, match="is not the manifest that the server named"),
    ):
        ServedLoader(middle.address, **SETTINGS)


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
        assert len([server for server in servers if server.refusals]) == 1
        assert [server.is_live and batches._stream.digest in server.opened for server in servers].count(True) == 1


# --- closing and ending -----------------------------------------------------------------------------------------------


def n_open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def client_threads() -> list[str]:
    return [
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith(("gtzan-stream-client", "gtzan-stream-contact"))
    ]


def use(address: str, shards: Path | None) -> ServedLoader:
    batches = ServedLoader(address, shards, **SETTINGS)
    iterator = iter(batches)
    next(iterator)
    return batches


@pytest.mark.parametrize("how", ["close", "garbage"])
def test_loaders_leave_nothing_behind(how: str, served: Server, shards: Path):
    use(served.address, shards).close()  # with what belongs to the process
    gc.collect()
    wait_for(lambda: not client_threads())
    time.sleep(0.2)
    before = n_open_files()
    for i in range(5 * MANY if how == "garbage" else 20 * MANY):
        batches = use(served.address, shards if i % 2 else None)
        if how == "close":
            batches.close()
        del batches
    gc.collect()
    wait_for(lambda: not client_threads())
    wait_for(lambda: n_open_files() <= before + 3)


def test_an_epoch_can_be_left_early_and_gone_on_with(served: Server, shards: Path, expected: list[tuple]):
    with ServedLoader(served.address, **SETTINGS) as batches:
        for number, _ in enumerate(batches):
            if number == 2:
                break
        state = batches.state_dict()
        assert contents(batches) == expected, "the epoch starts again"
        batches.load_state_dict(state)
        assert contents(batches) == expected[3:]
    with Loader(shards, **SETTINGS) as local:
        local.load_state_dict(state)
        assert contents(local) == expected[3:]


def test_two_loaders_work_in_one_process(served: Server, expected: list[tuple]):
    with ServedLoader(served.address, **SETTINGS) as one, ServedLoader(served.address, **SETTINGS) as other:
        pairs = list(zip(one, other, strict=True))
        assert contents(pair[0] for pair in pairs) == contents(pair[1] for pair in pairs) == expected


@pytest.mark.parametrize("workers", [0, 1])
def test_closing_ends_a_wait_with_the_error_of_a_closed_loader(workers: int, served: Server):
    with Middle(served, lambda request, frames: None if request["ask"] == "get" else frames) as middle:
        batches = ServedLoader(middle.address, num_workers=workers, **SETTINGS)
        timer = threading.Timer(0.3, batches.close)
        timer.start()
        begun = time.monotonic()
        with pytest.raises(UserError, match="this loader is closed"):
            next(iter(batches))
        assert time.monotonic() - begun < 2
        timer.join()


def test_a_loader_that_is_being_closed_says_so_before_its_requests_end(served: Server):
    batches = ServedLoader(served.address, **SETTINGS)
    iterator, was_closed = iter(batches), []
    next(iterator)
    batches._servers.close = lambda: was_closed.append(batches._closed)  # type: ignore[method-assign]
    batches.close()
    assert was_closed == [True]
    del batches._servers.close
    batches._servers.close()


PROGRAM = """
import sys
from gtzan_stream.service import ServedLoader
loader = ServedLoader(sys.argv[1], batch_size=4, crops_per_clip=4, num_workers=int(sys.argv[2]))
iterator = iter(loader)
print("waits", flush=True)
if sys.argv[3] == "end":
    import threading
    threading.Thread(target=lambda: next(iterator), daemon=True).start()
    import time
    time.sleep(0.5)
else:
    next(iterator)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["end", "ctrl-c"])
def test_a_program_that_waits_ends_at_once(end: str, served: Server):
    with Middle(served, lambda request, frames: None if request["ask"] == "get" else frames) as middle:
        command = [sys.executable, "-c", PROGRAM, middle.address, "1", end]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout
        assert process.stdout.readline() == "waits\n"
        time.sleep(0.3)
        begun = time.monotonic()
        if end == "ctrl-c":
            process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=20)
        assert time.monotonic() - begun < 5
        assert process.returncode == (0 if end == "end" else -signal.SIGINT), messages
