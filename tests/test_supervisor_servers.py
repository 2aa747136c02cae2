"""A supervisor's real servers: they are started again, and end with it."""

import os
import signal
import threading
from pathlib import Path

import pytest

from gtzan_stream.errors import UserError
from gtzan_stream.service import ServedLoader
from gtzan_stream.service.stats import Stats
from tests.serve_cases import Serve, children, free_port, is_running
from tests.waiting import wait_for


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
    code = "def chain():\n    for _ in range(3000):\n        print('x' * 99)\n    return as_transform('none')\n"
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
