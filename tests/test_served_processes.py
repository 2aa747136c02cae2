"""train.py --served in several processes: ranks, trainers that are killed, and four trainers on one service."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gtzan_stream import Manifest
from gtzan_stream.service import Server
from tests.house import ROOT
from tests.ranks_program import outcomes, start
from tests.served_cases import SETTINGS, addresses_of, serving
from tests.train_cases import assert_equal_runs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs."""
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module", autouse=True)
def service(tiny: Path) -> Iterator[list[Server]]:
    """Two servers of the tiny demo set."""
    with ExitStack() as stack:
        yield [stack.enter_context(serving(tiny)) for _ in range(2)]


def job(folder: Path, name: str, *options: str, **act: Any) -> dict[str, Any]:
    """Return a job of ranks_program: a new run with these options, or a resumed one."""
    new = [] if "--resume" in options else [*SETTINGS, "--out", str(folder), "--name", name]
    return {"name": name, "out": str(folder), "act": act, "without_model": True, "arguments": [*new, *options]}


def assert_end(trainers: list[Any], status: int = 0) -> None:
    found = outcomes(trainers, 240)
    assert [code for code, *_ in found] == [status] * len(found), found


def test_two_ranks_get_their_rows_from_the_service(folder: Path, tiny: Path, service: list[Server]):
    for name, source in (("ranks", ["--shards", str(tiny)]), ("served-ranks", ["--served", addresses_of(service)])):
        assert_end(start([job(folder, name, *source)], 2))
    assert_equal_runs(folder / "served-ranks", folder / "ranks")


@pytest.mark.parametrize(("what", "status"), [("kill", -9), ("terminate", 143)])
def test_a_trainer_that_ends_early_continues_on_the_service(
    folder: Path, tiny: Path, service: list[Server], what: str, status: int
):
    assert_end(start([job(folder, f"no-{what}", "--shards", str(tiny))], 1))
    act = {"step": 4, "what": what}
    assert_end(start([job(folder, what, "--served", addresses_of(service), **act)], 1), status)
    assert_end(start([job(folder, what, "--resume", str(folder / what))], 1))
    assert_equal_runs(folder / what, folder / f"no-{what}")


def test_four_trainers_on_one_service_make_each_batch_once(folder: Path, tiny: Path, service: list[Server], capsys):
    """Four learning rates, as in a sweep."""
    options = ["--augment", "strong", "--crops-per-clip", "32"]
    rates, spent_s, made = ("0.1", "0.03", "0.01", "0.003"), {}, {}
    for kind, source in (("own", ["--shards", str(tiny)]), ("shared", ["--served", addresses_of(service)])):
        begun_s, made_before = time.process_time(), count_made(service)
        common = [*SETTINGS, *source, *options, "--out", str(folder)]
        trainers = [sweep([*common, "--name", f"{kind}-{rate}", "--lr", rate]) for rate in rates]
        found = outcomes(trainers, 240)
        assert [status for status, *_ in found] == [0] * 4, found
        spent_s[kind] = sum(float(printed.split()[-1]) for _, printed, _ in found)
        spent_s[kind] += time.process_time() - begun_s  # of the servers, which are threads of this process
        made[kind] = count_made(service) - made_before
    for rate in rates:
        assert_equal_runs(folder / f"own-{rate}", folder / f"shared-{rate}")
    with capsys.disabled():
        print(f"\nfour trainers: {spent_s['own']:.1f} s of CPU time alone, {spent_s['shared']:.1f} s with one service")
    assert spent_s["shared"] < 0.9 * spent_s["own"]
    manifest = Manifest.open(tiny)
    train, valid, test = (len(manifest.part("demo", part)) for part in ("train", "valid", "test"))
    chunks = 4  # of a clip of 12 s
    batches = 2 * -(-32 * train // 7) + -(-chunks * valid // 7) + -(-chunks * test // 7)
    assert made["own"] == 0
    assert batches <= made["shared"] < 1.5 * batches, "a trainer that begins late finds the first batches evicted"


def sweep(arguments: list[str]) -> "subprocess.Popen[str]":
    """Start train.py on a small network in a process of its own."""
    command = [sys.executable, "-m", "tests.sweep_program", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def count_made(service: list[Server]) -> int:
    """Return how many batches the servers have made so far."""
    return sum(stream["made"] for server in service for stream in server.stats()["streams"])
