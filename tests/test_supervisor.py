"""The supervisor starts servers again that end. The servers are fake ones, which start at once."""

import errno
import itertools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gtzan_stream.errors import UserError
from gtzan_stream.service import supervisor
from gtzan_stream.service.supervisor import Supervisor
from tests.house import ROOT
from tests.serve_cases import is_running
from tests.waiting import wait_for

FAKE = ROOT / "tests/fake_server_program.py"


class Fakes:
    """Settings of fake servers, the processes that the supervisor has started, and what it announced."""

    def __init__(self, folder: Path) -> None:
        self.settings: list[dict[str, Any]] = []
        self.announced: list[list[dict[str, Any]]] = []
        self._folder = folder

    def add(self, *lives: str) -> None:
        """Add a server. See `fake_server_program`."""
        number = len(self.settings)
        starts = self._folder / f"starts-{number}"
        starts.touch()
        self.settings.append({"listen": f"tcp://{number}", "starts": str(starts), "lives": lives})

    def pids(self, number: int = 0) -> list[int]:
        """Return the process IDs of a server, of each start."""
        return [int(line) for line in Path(self.settings[number]["starts"]).read_text().splitlines()]

    def run(self, *until: Callable[[], object]) -> None:
        """Run the supervisor until each condition has been met, then press Ctrl-C."""

        def interrupt() -> None:
            try:
                for condition in until:
                    wait_for(condition, 20)
            finally:
                os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            Supervisor(self.settings).run(self.announced.append)
        thread.join()


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fakes]:
    monkeypatch.setattr(supervisor, "_COMMAND", [sys.executable, str(FAKE)])
    found = Fakes(tmp_path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores it
    yield found
    signal.signal(signal.SIGINT, before)
    for number in range(len(found.settings)):
        assert not [pid for pid in found.pids(number) if is_running(pid)]


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def test_servers_that_serve_are_announced_once_in_order(fakes: Fakes, caplog):
    fakes.add("serve")
    fakes.add("die", "serve")
    fakes.run(lambda: fakes.announced, lambda: len(fakes.pids(1)) == 2, lambda: time.sleep(0.2) is None)
    assert fakes.announced == [[{"address": "tcp://0"}, {"address": "tcp://1"}]]
    assert len(fakes.pids(0)) == 1


def test_a_killed_server_is_started_again_at_once(fakes: Fakes, caplog):
    fakes.add("serve")
    fakes.run(
        lambda: fakes.announced,
        lambda: os.kill(fakes.pids()[0], signal.SIGKILL) is None,
        lambda: len(fakes.pids()) == 2,
    )
    message = "the server at 0 ended (ended by SIGKILL; is there enough memory? --servers starts fewer)"
    assert messages(caplog) == [f"{message}; it is started again now"]


def test_a_server_that_is_ended_by_any_signal_is_started_again(fakes: Fakes, caplog):
    fakes.add("serve")
    number = signal.SIGRTMIN + 3
    fakes.run(lambda: fakes.announced, lambda: os.kill(fakes.pids()[0], number) is None, lambda: len(fakes.pids()) == 2)
    assert messages(caplog) == [f"the server at 0 ended (ended by signal {number}); it is started again now"]


def test_pauses_grow_while_a_server_ends_soon(fakes: Fakes, caplog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervisor, "_FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(supervisor, "_LAST_PAUSE_S", 0.3)
    fakes.add("die", "refuse", "die")
    fakes.run(lambda: len(fakes.pids()) == 6)
    when = ["now", "in 0.1 s", "in 0.2 s", "in 0.3 s", "in 0.3 s"]
    why = ["exit status 3", "the port is in use", *["exit status 3"] * 3]
    expected = [f"the server at 0 ended ({w}); it is started again {t}" for w, t in zip(why, when, strict=True)]
    assert messages(caplog)[:5] == expected


def test_a_server_that_has_served_long_enough_is_started_again_at_once(fakes: Fakes, caplog, monkeypatch):
    monkeypatch.setattr(supervisor, "_STABLE_S", 0.0)
    fakes.add("die")
    fakes.run(lambda: len(fakes.pids()) == 5)
    assert all(message.endswith("again now") for message in messages(caplog))


@pytest.mark.parametrize(
    ("life", "message"),
    [("refuse", "^the port is in use$"), ("crash", r"^the server at 1 could not start: exit status 1$")],
)
def test_a_server_that_cannot_start_ends_all(fakes: Fakes, life: str, message: str):
    fakes.add("serve")
    fakes.add(life)
    with pytest.raises(UserError, match=message):
        Supervisor(fakes.settings).run(lambda _: pytest.fail("not all serve"))


def without_room(monkeypatch: pytest.MonkeyPatch, starts: range) -> None:
    """Make the system refuse these starts of processes."""
    numbers, start = itertools.count(), supervisor.start

    def start_or_refuse(*args: Any, **kwargs: Any) -> Any:
        if next(numbers) in starts:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return start(*args, **kwargs)

    monkeypatch.setattr(supervisor, "start", start_or_refuse)


def test_a_server_is_started_again_when_the_system_has_room(fakes: Fakes, caplog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervisor, "_FIRST_PAUSE_S", 0.1)
    without_room(monkeypatch, range(1, 3))
    fakes.add("die", "serve")
    fakes.run(lambda: len(fakes.pids()) == 2)
    reason = "no process can be started: [Errno 11] Resource temporarily unavailable"
    assert messages(caplog) == [
        "the server at 0 ended (exit status 3); it is started again now",
        f"the server at 0 ended ({reason}); it is started again in 0.1 s",
        f"the server at 0 ended ({reason}); it is started again in 0.2 s",
    ]


def test_no_room_for_the_first_process_is_a_user_error(fakes: Fakes, monkeypatch: pytest.MonkeyPatch):
    without_room(monkeypatch, range(1))
    fakes.add("serve")
    with pytest.raises(UserError, match=r"^no process can be started: \[Errno 11\] Resource temporarily unavailable$"):
        Supervisor(fakes.settings).run(lambda _: pytest.fail("none serves"))


def test_a_server_that_does_not_end_is_killed(fakes: Fakes, caplog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervisor, "_END_S", 0.2)
    fakes.add("deaf")
    fakes.run(lambda: fakes.announced)
    assert messages(caplog) == ["servers that have not ended in 0.2 s are killed"]
