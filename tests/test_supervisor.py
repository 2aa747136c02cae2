"""The supervisor starts servers again that end: fake ones, which start at once, and real ones."""

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
from gtzan_stream.service import ServedLoader, supervisor
from gtzan_stream.service.stats import Stats
from gtzan_stream.service.supervisor import Supervisor
from tests.house import ROOT
from tests.serve_cases import Serve, children, free_port, is_running

FAKE = ROOT / "tests/fake_server_program.py"


def wait_for(condition: Callable[[], object], within_s: float = 60.0) -> None:
    latest = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < latest, "this takes too long"
        time.sleep(0.01)


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


def test_a_server_that_does_not_end_is_killed(fakes: Fakes, caplog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervisor, "_END_S", 0.2)
    fakes.add("deaf")
    fakes.run(lambda: fakes.announced)
    assert messages(caplog) == ["servers that have not ended in 0.2 s are killed"]


# --- real servers -----------------------------------------------------------------------------------------------------


def pid_of_server(port: int) -> int | None:
    """Ask the server at a port for its process ID; None if there is none."""
    with Stats(f"127.0.0.1:{port}") as stats:
        try:
            return stats.ask()[0]["pid"]
        except UserError:
            return None


@pytest.mark.slow
def test_a_killed_server_serves_again_and_ctrl_c_ends_all(tiny: Path):
    port = free_port()
    with Serve(tiny, "--listen", f"127.0.0.1:{port}", "--servers", 1) as serve:
        assert serve.wait_until_ready() == [
            f"{tiny}: demo, 40 clips; 1 server on cpu\n",
            f"python train.py --served 127.0.0.1:{port}\n",
        ]
        first = pid_of_server(port)
        assert children(serve.process.pid) == {first}
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: pid_of_server(port) not in (None, first))
        second = pid_of_server(port)
        assert children(serve.process.pid) == {second}
        status, errors = serve.end(signal.SIGINT)
    assert errors.count("\n") == 2, errors
    died, interrupted = errors.splitlines()
    assert status == 130
    assert f"the server at 127.0.0.1:{port} ended (ended by SIGKILL" in died
    assert interrupted == "gtzan-stream: interrupted; the servers have ended"
    assert not is_running(second)


@pytest.mark.slow
def test_a_server_goes_on_while_an_augmentation_of_your_own_prints(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    code = "for _ in range(3000):\n    print('x' * 99)\n\ndef chain():\n    return as_transform('none')\n"
    (tmp_path / "prints.py").write_text(f"from gtzan_stream.augment.recipes import as_transform\n{code}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    port = free_port()
    options = ["--listen", f"127.0.0.1:{port}", "--servers", 1, "--allow", "prints:chain"]
    with Serve(tiny, *options) as serve:
        serve.wait_until_ready()
        read = threading.Thread(target=serve.process.communicate)
        read.start()
        with ServedLoader(f"127.0.0.1:{port}", augment="prints:chain", batch_size=4, crops_per_clip=1) as batches:
            timer = threading.Timer(30, batches.close)
            timer.start()
            assert len(list(batches)) == len(batches)
            timer.cancel()
        serve.process.kill()
        read.join()


@pytest.mark.slow
@pytest.mark.parametrize("is_ready", [True, False])
def test_servers_end_when_the_supervisor_is_killed(tiny: Path, is_ready: bool):
    with Serve(tiny, "--listen", f"127.0.0.1:{free_port(2)}", "--servers", 2) as serve:
        if is_ready:
            serve.wait_until_ready()
        wait_for(lambda: len(children(serve.process.pid)) == 2)
        servers = children(serve.process.pid)
        serve.process.kill()
        wait_for(lambda: not any(map(is_running, servers)), 10)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("is_ready", [True, False])
def test_a_signal_ends_all_with_one_line(tiny: Path, number: signal.Signals, is_ready: bool):
    with Serve(tiny, "--listen", f"127.0.0.1:{free_port(2)}", "--servers", 2) as serve:
        if is_ready:
            serve.wait_until_ready()
        wait_for(lambda: len(children(serve.process.pid)) == 2)
        servers = children(serve.process.pid)
        assert serve.end(number) == (128 + number, "gtzan-stream: interrupted; the servers have ended\n")
    assert not any(map(is_running, servers))


@pytest.mark.slow
def test_two_services_cannot_have_one_port(tiny: Path):
    port = free_port(2)
    with Serve(tiny, "--listen", f"127.0.0.1:{port}", "--servers", 2) as first:
        first.wait_until_ready()
        with Serve(tiny, "--listen", f"127.0.0.1:{port + 1}", "--servers", 1) as second:
            status, errors = second.end()
        assert status == 2
        assert errors.startswith(f"gtzan-stream: cannot listen at tcp://127.0.0.1:{port + 1}: Address already in use")
        assert errors.count("\n") == 1
        assert pid_of_server(port)
        assert pid_of_server(port + 1)
