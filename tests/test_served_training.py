"""train.py --served: the same results to the bit as with a loader of its own, without any shards here."""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import gtzan_stream
import models
import train
from gtzan_stream import Manifest
from gtzan_stream.cli import main
from gtzan_stream.service import ServedLoader, Server
from gtzan_stream.service import manifest as served
from gtzan_stream.training import comparison, launch
from gtzan_stream.training.config import Config
from gtzan_stream.training.run import Run
from tests.conftest import need
from tests.ranks_program import NETWORKS
from tests.served_cases import SETTINGS, addresses_of, serving
from tests.train_cases import assert_equal_runs

pytestmark = pytest.mark.usefixtures("no_export", "networks")


@pytest.fixture(scope="module")
def networks() -> Iterator[None]:
    """Add the small networks of the tests of ranks to the registry."""
    with pytest.MonkeyPatch.context() as patch:
        for name, spec in NETWORKS.items():
            patch.setitem(models.REGISTRY, name, spec)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs, without any shards."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(autouse=True)
def current(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def service(tiny: Path) -> Iterator[list[Server]]:
    """Two servers of the tiny demo set."""
    with ExitStack() as stack:
        yield [stack.enter_context(serving(tiny)) for _ in range(2)]


@pytest.fixture
def nowhere() -> str:
    """An address of this machine at which nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{unused.getsockname()[1]}"


def go(*arguments: str, code: int = 0) -> str:
    """Run train.py, and return what it printed."""
    new = [] if "--resume" in arguments else SETTINGS
    result = CliRunner().invoke(train.app, [*new, *arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def local(tiny: Path, folder: Path, networks: None) -> Path:
    """A run with a loader of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("gtzan_stream.inference.export.write", lambda *_, **__: None)
        go("--shards", str(tiny), "--name", "local")
    return folder / "local"


@pytest.fixture(scope="module")
def by_servers(service: list[Server], folder: Path, networks: None) -> tuple[Path, str]:
    """A run of both servers without shards, and what it printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("gtzan_stream.inference.export.write", lambda *_, **__: None)
        printed = go("--served", addresses_of(service), "--name", "by-servers")
    return folder / "by-servers", printed


def test_a_run_on_two_servers_equals_one_with_its_own_loader(by_servers, local: Path, service: list[Server]):
    assert_equal_runs(by_servers[0], local)
    made = [sum(stream["made"] for stream in server.stats()["streams"]) for server in service]
    assert min(made) > 0, "each server makes a part of the batches"
    assert json.loads((by_servers[0] / "config.json").read_text())["shards"] is None


def test_it_says_once_that_there_are_no_sounds(by_servers, local: Path):
    folder, printed = by_servers
    note = "The report has no sounds, because they are read from shards: add --shards to have them"
    assert printed.count("no sounds") == printed.replace("\n", " ").count(note) == 1
    pages = [(path / "report.html").read_text() for path in (folder, local)]
    assert ["This run had no shards to read their sounds from" in page for page in pages] == [True, False]
    assert ["data:audio" in page for page in pages] == [False, True]
    wrong = json.loads((folder / "report.json").read_text())["test"]["most_wrong"]
    assert wrong
    assert all(f"<h3>{track['key']}</h3>" in pages[0] for track in wrong)


@pytest.mark.parametrize("begins", ["served", pytest.param("local", marks=pytest.mark.slow)])
def test_a_run_continues_with_and_without_servers(local: Path, service: list[Server], tiny: Path, begins: str):
    shards, servers = ["--shards", str(tiny)], ["--served", addresses_of(service)]
    name, first, then = f"begins-{begins}", shards, servers
    if begins == "served":
        first, then = servers, [*shards, "--served", "none"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "step", interrupted_after(Run.step, 4))
        go(*first, "--name", name, code=130)
    go("--resume", name, *then)
    assert_equal_runs(Path(name), local)
    settings = json.loads(Path(name, "config.json").read_text())
    expected = {"shards": str(tiny), "served": "none"} if begins == "served" else {"shards": None, "served": servers[1]}
    assert {setting: settings[setting] for setting in expected} == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"served": "none"}, {"shards": "shards", "served": "none", "served_keys": None, "served_strict": False}),
        ({"served": "b"}, {"shards": None, "served": "b", "served_keys": "keys", "served_strict": True}),
        ({"shards": "here"}, {"shards": "here", "served": "a", "served_keys": "keys", "served_strict": True}),
    ],
)
def test_servers_that_are_named_when_a_run_is_resumed_have_the_shards(
    changes: dict[str, Any], expected: dict[str, Any]
):
    config = Config(served="a", shards=None, served_keys="keys", served_strict=True)
    settings = launch._changed(config, changes).to_dict()
    assert {name: settings[name] for name in expected} == expected


def interrupted_after(step: Any, steps: int) -> Any:
    """Return `step`, followed by a Ctrl-C after so many steps."""

    def then_interrupt(run: Run, batch: Any) -> None:
        step(run, batch)
        if run.progress.steps == steps:
            os.kill(os.getpid(), signal.SIGINT)

    return then_interrupt


def test_with_shards_a_run_goes_on_without_a_server(
    local: Path, tiny: Path, nowhere: str, caplog: pytest.LogCaptureFixture
):
    printed = go("--served", nowhere, "--shards", str(tiny), "--name", "alone")
    assert_equal_runs(Path("alone"), local)
    assert f"without a server, they are made here from {tiny}" in printed.replace("\n", "")
    assert "no server of the feature service is left: making batches here" in caplog.text
    assert "data:audio" in Path("alone/report.html").read_text()


@pytest.mark.slow
def test_tensorboard_has_pictures_but_no_sounds(service: list[Server], monkeypatch: pytest.MonkeyPatch):
    need("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    added = []
    for name in ("add_audio", "add_image"):
        monkeypatch.setattr(SummaryWriter, name, lambda *arguments, name=name, **_: added.append((name, arguments[1])))
    printed = go("--served", addresses_of(service), "--name", "board", "--steps", "1", "--tensorboard")
    assert ("add_image", "augmented/features") in added
    assert "add_audio" not in dict(added)
    assert "The report and TensorBoard have no sounds" in printed.replace("\n", " ")


def test_a_manifest_is_downloaded_once_a_run(service: list[Server], monkeypatch: pytest.MonkeyPatch):
    files, download = [], served.Servers.file
    monkeypatch.setattr(served, "_latest", {})
    monkeypatch.setattr(served.Servers, "file", lambda servers, name: files.append(name) or download(servers, name))
    go("--served", addresses_of(service), "--name", "once", "--steps", "1")
    assert sorted(files) == ["manifest.json", "samples.parquet", "splits.parquet"]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a command of gtzan-stream, and returns its exit code and what it printed."""

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["gtzan-stream", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), "".join(capsys.readouterr())

    return call


def test_replay_and_preview_of_such_a_run_need_its_shards(by_servers, local: Path, tiny: Path, command, monkeypatch):
    manifest = Manifest.open(tiny)
    replay = ["--key", manifest.keys[int(manifest.part("demo", "train")[0])].as_py(), "--out", "heard.wav"]
    for name, options in (("preview", []), ("replay", replay)):
        code, printed = command(name, by_servers[0], *options)
        assert (code, printed.count("\n")) == (2, 1)
        assert "name their shards with --shards" in printed
    monkeypatch.setattr(ServedLoader, "__init__", lambda *_, **__: pytest.fail("a clip is read here"))
    heard = []
    for run in (by_servers[0], local):
        assert command("replay", run, *replay, "--shards", tiny)[0] == 0
        heard.append(Path("heard.wav").read_bytes())
    assert heard[0] == heard[1]


def test_compare_finds_no_difference(by_servers, local: Path):
    rows = comparison.compare([comparison.read_run(run) for run in (by_servers[0], local)])
    assert [row["settings"] for row in rows] == [{}, {}]
    assert rows[0]["data"] == rows[1]["data"]


def test_an_unfinished_run_without_shards_is_compared_too(by_servers, tmp_path: Path):
    (tmp_path / "config.json").write_text((by_servers[0] / "config.json").read_text())
    assert comparison.read_run(tmp_path).data == ("demo", str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--served", "ADDRESS"], "no server of the feature service answers (tcp://ADDRESS: nothing listens there): "),
        (["--served", "not an address"], "'not an address' is not the address of a server"),
        (["--served", "ADDRESS", "--check"], "--check reads the shards, and with --served they are elsewhere"),
        (["--served-keys", "keys"], "--served-keys and --served-strict go with --served ADDRESS"),
        (["--served-strict"], "--served-keys and --served-strict go with --served ADDRESS"),
        ([], "shards does not exist"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], expected: str, nowhere: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(served, "_START_S", 0)
    printed = go(*(word.replace("ADDRESS", nowhere) for word in arguments), code=2)
    assert printed.startswith(f"error: {expected.replace('tcp://ADDRESS', f'tcp://{nowhere}')}")
    assert printed.count("\n") == 1


def test_without_pyzmq_only_served_runs_fail(local: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch):
    """So the service is imported for such runs only."""
    for name in [name for name in sys.modules if name.startswith("gtzan_stream.service")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(gtzan_stream, "service")
    monkeypatch.setitem(sys.modules, "zmq", None)  # type: ignore[arg-type]
    go("--shards", str(tiny), "--name", "without-pyzmq")
    assert_equal_runs(Path("without-pyzmq"), local)
    printed = go("--served", "127.0.0.1", code=2)
    assert printed.startswith("error: the feature service needs pyzmq")
    assert "pip install 'gtzan-stream[service]'" in printed
    assert printed.count("\n") == 1
