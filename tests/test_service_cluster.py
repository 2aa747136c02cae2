"""The process outside of Ray: finds clusters without Ray's help, and starts what Ray has ended again."""

import importlib.util
import logging
import socket
import sys
from pathlib import Path

import pytest

from gtzan_stream.errors import UserError
from gtzan_stream.service import cluster


class _Stop(Exception):
    """Ends `cluster.run`, as Ctrl-C does."""


@pytest.fixture
def listener():
    """A socket that listens, as the head of a cluster does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def _address(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a Ray cluster; returns the file where `ray start` notes its address."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(cluster, "_PAUSE_S", 0.05)
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray/ray_current_cluster"


def test_running_cluster_is_found(nothing_runs: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster.find(None) is None
    assert cluster.find(_address(listener)) == _address(listener)
    nothing_runs.write_text(_address(listener))
    assert cluster.find(None) == _address(listener)
    nothing_runs.write_text("127.0.0.1:1")  # of a cluster that was killed
    assert cluster.find(None) is None
    monkeypatch.setenv("RAY_ADDRESS", _address(listener))
    assert cluster.find(None) == _address(listener)


def test_cluster_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no Ray cluster answers at 127\.0\.0\.1:1: start one with `ray start --head`"):
        cluster.find("127.0.0.1:1")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:2")
    with pytest.raises(UserError, match=r"no Ray cluster answers at 127\.0\.0\.1:2"):
        cluster.find(None)


@pytest.mark.parametrize("address", ["local", "ray://10.0.0.7:10001", "10.0.0.7", "host:port"])
def test_address_that_is_none_is_an_error(address: str) -> None:
    with pytest.raises(UserError, match="is not the address of a Ray cluster: write host:port"):
        cluster.find(address)


def test_ray_that_is_not_installed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else find_spec(name))
    with pytest.raises(UserError, match=r"--ray needs Ray: pip install 'gtzan-stream\[ray\]'"):
        cluster.run({}, None, print)


def _stand_in(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Run a program instead of the process that places servers. `settings` are what it was told."""
    start = "import json, os, sys; settings = json.loads(sys.stdin.readline())\n"
    monkeypatch.setattr(cluster, "_COMMAND", [sys.executable, "-c", start + program])


def _run(settings: dict, address: str | None, until: int) -> list:
    """Run until servers have been announced so many times, and return what was announced."""
    announced: list = []

    def on_serving(reports: list) -> None:
        announced.append(reports)
        if len(announced) == until:
            raise _Stop

    with pytest.raises(_Stop):
        cluster.run(settings, address, on_serving)
    return announced


def test_servers_are_started_again_when_the_cluster_is_back(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("ray")
    _stand_in(monkeypatch, 'print(json.dumps({"serving": settings}))')  # then it ends, as if Ray had ended it
    answers = iter([True, True, False, False, True])
    monkeypatch.setattr(cluster, "_answers", lambda address: next(answers))
    told = {"port": 1, "address": _address(listener)}
    assert _run({"port": 1}, _address(listener), until=2) == [told, told]
    lost = f"the Ray cluster at {_address(listener)} was lost"
    assert [record.message.partition(" (")[0] for record in caplog.records] == [lost, lost]
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.WARNING]
    assert "Ray has ended the connection" in caplog.records[0].message
    assert "it does not answer" in caplog.records[1].message


def test_first_error_is_raised_and_later_ones_are_logged_once(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    _stand_in(monkeypatch, 'print(json.dumps({"error": "no room"}))')
    with pytest.raises(UserError, match="no room"):
        cluster.run({}, _address(listener), print)
    times = tmp_path / "times"
    _stand_in(
        monkeypatch,
        f"""
times = open({str(times)!r}, "a+")
print(times.write("."), times.flush(), file=sys.stderr)
first = times.tell() in (1, 4)
print(json.dumps({{"serving": []}} if first else {{"error": "no room"}}))""",
    )
    _run({}, _address(listener), until=2)
    assert [("no room" in record.message) for record in caplog.records] == [False, True]


def test_process_ends_when_the_command_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    ended = tmp_path / "ended"
    program = f'print(json.dumps({{"serving": []}}), flush=True); sys.stdin.read(); open({str(ended)!r}, "w").close()'
    _stand_in(monkeypatch, program)
    _run({}, None, until=1)
    assert ended.exists()


def test_own_cluster_is_private_and_joined_clusters_keep_their_settings(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    pytest.importorskip("ray")
    for name in cluster._own_cluster():
        monkeypatch.delenv(name, raising=False)
    own = "{name: os.environ.get(name) for name in os.environ if name.startswith('RAY_')}"
    _stand_in(monkeypatch, f'print(json.dumps({{"serving": [{own}]}}))')
    ((alone,),) = _run({}, None, until=1)
    ((again,),) = _run({}, None, until=1)
    ((joined,),) = _run({}, _address(listener), until=1)
    assert alone["RAY_AUTH_MODE"] == "token"
    assert len(alone["RAY_AUTH_TOKEN"]) == 64
    assert alone["RAY_AUTH_TOKEN"] != again["RAY_AUTH_TOKEN"]
    assert not joined.keys() & cluster._own_cluster().keys()
    assert alone["RAY_USAGE_STATS_ENABLED"] == joined["RAY_USAGE_STATS_ENABLED"] == "0"
