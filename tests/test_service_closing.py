"""Closing and ending: a client leaves nothing behind, and waits for nothing."""

import gc
import os
import signal
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
from gtzan_stream.service import ServedLoader
from gtzan_stream.service.server import Server
from tests.conftest import MANY
from tests.service_programs import ROOT, Middle, threaded
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


def waits(batches: Any) -> list[float]:
    """Return how long each batch was waited for."""
    found, begun = [], time.monotonic()
    for _ in batches:
        found.append(time.monotonic() - begun)
        begun = time.monotonic()
    return found


# --- closing and ending -----------------------------------------------------------------------------------------------


def n_open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def client_threads() -> list[str]:
    return [
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith(("gtzan-stream-prefetch", "gtzan-stream-contact"))
    ]


def use(address: str, shards: Path | None) -> ServedLoader:
    batches = ServedLoader(address, shards, **SETTINGS)
    iterator = iter(batches)
    next(iterator)
    return batches


@pytest.mark.slow
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


def test_the_next_epoch_uses_the_same_connection_unless_replies_are_left(served: Server):
    with Middle(served) as middle, ServedLoader(middle.address, **SETTINGS) as batches:
        contents(batches)
        greeted = middle.asked.count("hello")
        contents(batches)
        assert middle.asked.count("hello") == greeted
        for _ in range(3):
            next(iter(batches))
        assert greeted < middle.asked.count("hello") <= greeted + 3


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


def test_an_epoch_can_be_repeated_after_ctrl_c_while_a_request_was_sent(
    served: Server, expected: list[tuple], monkeypatch: pytest.MonkeyPatch
):
    send, is_interrupted = zmq.Socket.send, threading.Event()

    def interrupted(socket: Any, data: Any, flags: int = 0, **options: Any) -> Any:
        sent = send(socket, data, flags, **options)
        is_ours = threading.current_thread() is threading.main_thread()  # not the server's
        if flags & zmq.SNDMORE and is_ours and not is_interrupted.is_set():
            is_interrupted.set()
            raise KeyboardInterrupt
        return sent

    with ServedLoader(served.address, **SETTINGS) as batches:
        list(batches)
        batches.set_epoch(0)
        monkeypatch.setattr(zmq.Socket, "send", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(iter(batches))
        timer = threading.Timer(20, batches.close)
        timer.start()
        assert contents(batches) == expected
        timer.cancel()


def test_a_loader_may_be_collected_while_a_thread_notes_what_a_server_says(served: Server):
    class Collects(UserError):
        def __str__(self) -> str:
            gc.collect()
            return "it has other clips"

    batches: Any = ServedLoader(served.address, **SETTINGS)
    batches.cycle, (server,) = batches, batches._servers._servers.values()
    del batches
    thread = threading.Thread(target=server.health.refuse, args=("", Collects()), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


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
