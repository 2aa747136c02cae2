"""`gtzan-stream serve`: what it starts, what it prints, the statistics, and mistakes."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gtzan_stream import console
from gtzan_stream.cli import main
from gtzan_stream.commands import serve as command
from gtzan_stream.commands import stats_tables
from gtzan_stream.commands.stats_tables import StatsTables
from gtzan_stream.service import ServedLoader
from gtzan_stream.threads import cores
from tests.serve_cases import Serve, free_port, serving

Run = Callable[..., tuple[str, str]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command as its entry point does, check its exit code, and return what it prints."""

    def run(*arguments: object, code: int = 0, width: int = 200) -> tuple[str, str]:
        monkeypatch.setattr(console.out, "width", width)
        monkeypatch.setattr(sys, "argv", ["gtzan-stream", "serve", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == code, err
        return out, err

    return run


class Started(Exception):
    """The supervisor was started."""


@pytest.fixture
def started(serve: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Return the settings of the servers that a command line would start."""

    def run(*arguments: object) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        def note(settings: list[dict[str, Any]]) -> None:
            found.extend(settings)
            raise Started

        monkeypatch.setattr("gtzan_stream.service.supervisor.Supervisor", note)
        monkeypatch.setattr(sys, "argv", ["gtzan-stream", "serve", *map(str, arguments)])
        with pytest.raises(Started):
            main()
        return json.loads(json.dumps(found))  # as the servers get them

    return run


# --- servers ----------------------------------------------------------------------------------------------------------


def test_by_default_each_core_gets_a_server_on_this_machine(started):
    servers = started("shards")
    addresses = [f"tcp://127.0.0.1:{5690 + i}" for i in range(cores())]
    assert [server.pop("listen") for server in servers] == addresses
    assert servers[0] == {
        "shards": "shards",
        "keys": None,
        "cache_mb": 256.0,
        "allow": [],
        "verbose": False,
        "addresses": addresses,
        "torch_threads": 1,
        "device": "cpu",
    }
    assert servers == [servers[0]] * cores()


def test_options_reach_the_servers(started, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "cores", lambda: 8)
    options = ["--listen", "0.0.0.0:7000", "--servers", 3, "--cache-mb", 64, "--keys", "ours", "--verbose"]
    servers = started("s3://bucket/shards", *options, "--allow", "mine:wobble", "--allow", "mine:hum")
    assert [server["listen"] for server in servers] == [f"tcp://0.0.0.0:{port}" for port in (7000, 7001, 7002)]
    assert servers[2]["shards"] == "s3://bucket/shards"
    assert servers[2]["keys"] == "ours"
    assert servers[2]["cache_mb"] == 64
    assert servers[2]["allow"] == ["mine:wobble", "mine:hum"]
    assert servers[2]["verbose"]
    assert servers[2]["torch_threads"] == 2


def test_each_gpu_gets_a_server(started, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [server["device"] for server in started("shards", "--device", "cuda")] == ["cuda:0", "cuda:1"]
    three = started("shards", "--device", "cuda", "--servers", 3)
    assert [server["device"] for server in three] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [server["device"] for server in started("shards", "--device", "cuda:1")] == ["cuda:1"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert [server["device"] for server in started("shards", "--device", "cuda")] == ["cuda"]


def test_what_is_served_is_printed_with_addresses_that_trainers_can_use(capsys: pytest.CaptureFixture[str]):
    report = {"dataset": "gtzan", "clips": 1000, "device": "cpu"}
    command._announce([{**report, "address": "tcp://127.0.0.1:5690"}], shards="shards", keys=None)
    assert capsys.readouterr().out.splitlines() == [
        "shards: gtzan, 1000 clips; 1 server on cpu",
        "python train.py --served 127.0.0.1:5690",
    ]
    gpus = [{**report, "device": f"cuda:{i % 2}", "address": f"tcp://0.0.0.0:{5690 + i}"} for i in range(6)]
    command._announce(gpus, shards="shards", keys="ours")
    host = os.uname().nodename
    addresses = ",".join(f"{host}:{port}" for port in range(5690, 5694))
    assert capsys.readouterr().out.splitlines() == [
        "shards: gtzan, 1000 clips; 6 servers on cuda:0, cuda:1",
        f"python train.py --served {addresses} --served-keys ours (and 2 more, which these name)",
    ]


@pytest.mark.slow
def test_shards_that_are_missing_are_one_line(tmp_path: Path):
    with Serve(tmp_path / "nowhere", "--listen", f"127.0.0.1:{free_port()}", "--servers", 1) as process:
        status, errors = process.end()
    assert (status, errors.count("\n")) == (2, 1)
    assert errors.startswith(f"gtzan-stream: {tmp_path / 'nowhere'} does not exist: ")


# --- statistics -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service(tiny: Path):
    """Two servers of which a trainer has asked for the five batches of two epochs, and the addresses."""
    with serving(tiny, 2) as addresses:
        loader = ServedLoader(addresses[0], split="demo", part="train", batch_size=4, crops_per_clip=1, seed=7)
        with loader:
            assert len([*loader, *loader]) == 2 * len(loader) == 10
        yield addresses


@pytest.mark.slow
def test_statistics_as_json_have_all_counters_of_all_servers(serve: Run, service: list[str]):
    out, err = serve("--stats", service[1].removeprefix("tcp://"), "--json")
    assert err == ""
    servers = json.loads(out)["servers"]
    assert [server["address"] for server in servers] == service
    streams = [stream for server in servers for stream in server["streams"]]
    assert {stream["settings"]["seed"] for stream in streams} == {7}
    assert sum(stream["made"] for stream in streams) == sum(stream["requested"] for stream in streams) == 10
    names = {"requested", "made", "made_again", "failed", "making_s", "waiting_s", "stream", "settings"}
    assert names <= set(streams[0])
    assert {"pid", "device", "uptime_s", "cpu_s", "cache", "clients", "errors"} <= set(servers[0])


@pytest.mark.parametrize("width", [80, 120])
def test_statistics_are_printed_once_if_stdout_is_no_terminal(serve: Run, service: list[str], width: int):
    nobody = f"127.0.0.1:{free_port()}"
    out, _ = serve("--stats", f"{service[0]},{nobody}", width=width)
    lines = out.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0] == "3 servers (1 not answering), 1 stream, 1 trainer"
    text = " ".join(out.split())
    for address in service:
        assert f"{address.removeprefix('tcp://')} cpu " in text
    assert f"{nobody} nothing listens there" in text
    assert ("demo train, study, 4 rows, seed 7" in text) == (width == 120)  # else it takes two lines
    assert "seed 7" in text
    row = next(line.split() for line in lines if "demo train" in line)
    assert row[row.index("rows,") + (1 if width == 80 else 3) :][:4] == [
        "10",
        "10",
        "0",
        "0",
    ]  # asked for, made, made again, failed
    assert f"{os.uname().nodename}:{os.getpid()} " in text


def test_statistics_are_shown_on_a_terminal_until_ctrl_c(serve: Run, service: list[str], monkeypatch):
    tables, n_shown = StatsTables(), 0

    def layout(answers: list[dict[str, Any]]) -> Any:
        nonlocal n_shown
        n_shown += 1
        if n_shown == 3:
            raise KeyboardInterrupt
        return tables.layout(answers)

    monkeypatch.setattr(console.out, "_force_terminal", True)
    monkeypatch.setattr(console.out, "is_interactive", True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(command, "_REFRESH_S", 0.01)
    monkeypatch.setattr(stats_tables, "StatsTables", lambda: SimpleNamespace(layout=layout))
    out, err = serve("--stats", service[0])
    assert n_shown == 3
    assert out.count("2 servers, 1 stream, 1 trainer") >= 2
    assert err == ""


# --- keys -------------------------------------------------------------------------------------------------------------


def test_make_keys_says_what_to_do_with_them(serve: Run, tmp_path: Path):
    out, _ = serve("--make-keys", tmp_path / "ours")
    assert f"--keys {tmp_path / 'ours'}" in out
    assert "client.key_secret and server.key" in out
    assert (tmp_path / "ours/server.key_secret").exists()
    _, err = serve("--make-keys", tmp_path / "ours", code=2)
    assert "holds keys" in err


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either SHARDS to serve, or --make-keys DIR, or --stats ADDRESS"),
        (["shards", "--stats", "127.0.0.1"], "give either SHARDS to serve, or --make-keys DIR, or --stats ADDRESS"),
        (["shards", "--listen", "a b"], "'a b' is not the address of a server: write host:port, such as"),
        (["shards", "--listen", "127.0.0.1:*"], "--listen 127.0.0.1:*: "),
        (["shards", "--listen", "127.0.0.1:*", "--ray", "auto"], "--listen 127.0.0.1:*: with --ray, give the port"),
        (["shards", "--listen", "ipc:///tmp/x", "--ray", "auto"], "--listen ipc:///tmp/x: with --ray, give the port"),
        (["shards", "--listen", "::1:5690:x"], "is not the address of a server"),
        (
            ["shards", "--listen", "127.0.0.1:65535", "--servers", "2"],
            "2 servers need 2 ports from a number up to 65534",
        ),
        (["shards", "--servers", "9999"], "--servers 9999: this machine has "),
        (["--stats", "127.0.0.1:99999"], "is not the address of a server"),
        (["--stats", "no.such.host.invalid"], "no server answers (tcp://no.such.host.invalid:5690: "),
    ],
)
def test_a_mistake_is_one_line(serve: Run, arguments: list[str], message: str):
    out, err = serve(*arguments, code=2)
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("gtzan-stream: ")
    assert message in err


def test_no_server_is_one_line(serve: Run):
    address = f"127.0.0.1:{free_port()}"
    _, err = serve("--stats", address, "--json", code=2)
    assert err == (
        f"gtzan-stream: no server answers (tcp://{address}: nothing listens there): start servers with "
        "`gtzan-stream serve SHARDS`\n"
    )


def test_without_pyzmq_it_is_one_line(serve: Run, monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.startswith("gtzan_stream.service")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "zmq", None)
    _, err = serve("shards", code=2)
    assert err.startswith("gtzan-stream: the feature service needs pyzmq (")
    assert err.endswith("): pip install 'gtzan-stream[service]'\n")
    assert err.count("\n") == 1
