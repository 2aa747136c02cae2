"""The examples that take --served train as with a loader of their own, and ray_train with two workers of Ray Train."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import need
from tests.served_cases import serving
from tests.test_examples import Run, assert_falls, commands, folder, numbers, run, run_alone

__all__ = ["folder", "run"]  # fixtures


@pytest.fixture
def served(tiny: Path) -> Iterator[str]:
    """The address of a server."""
    with serving(tiny) as server:
        yield server.address


def test_plain_pytorch_with_a_service(run: Run, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    local = run("plain_pytorch")
    (command,) = [each.replace("--shards shards/", f"--served {served}") for each in commands("plain_pytorch")]
    monkeypatch.setattr("tests.test_examples.commands", lambda _: [command])
    assert run("plain_pytorch") == local


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["lightning_trainer", "torchrun_ddp"])
def test_an_example_prints_the_same_with_a_service(folder: Path, served: str, stem: str) -> None:
    if stem == "lightning_trainer":
        need("lightning")
    (command,) = commands(stem)
    found = [run_alone(each) for each in (command, command.replace("--shards shards/", f"--served {served}"))]
    assert numbers(r"epoch \d: .*loss #", found[0]) == numbers(r"epoch \d: .*loss #", found[1])


@pytest.mark.slow
def test_ray_train(folder: Path, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    need("ray")
    monkeypatch.setenv("RAY_ADDRESS", "local")  # not a cluster that happens to run on this machine
    monkeypatch.setenv("RAY_DEDUP_LOGS", "0")
    (command,) = commands("ray_train")
    assert_falls(numbers(r"epoch \d: loss #", run_alone(command.replace("127.0.0.1:5690", served))))
