"""The environment of torchrun, devices of ranks, and which of several processes prints a line; without processes."""

import logging
import warnings
from typing import Any

import pytest
import torch
from torch import distributed

from gtzan_stream.errors import UserError
from gtzan_stream.training import collectives, device, launch, processes
from tests.train_cases import completed

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


def test_variables_of_torchrun_give_the_rank_and_others_nothing():
    assert processes.ranks_of(TORCHRUN) == (3, 4)
    for environment in ({}, {"MASTER_ADDR": "a", "MASTER_PORT": "b"}, {"RANK": "0", "WORLD_SIZE": "1"}, {"RANK": ""}):
        assert processes.ranks_of(environment) is None


@pytest.mark.parametrize("missing", TORCHRUN)
def test_variables_that_are_missing_are_named(missing: str):
    environment = {name: value for name, value in TORCHRUN.items() if name != missing}
    with pytest.raises(UserError, match=f"set in the environment, but not {missing}: start train.py with torchrun"):
        processes.ranks_of(environment)


WRONG = [{"RANK": "4"}, {"RANK": "-1"}, {"LOCAL_RANK": "4"}, {"LOCAL_RANK": "-1"}, {"WORLD_SIZE": "0"}]
WRONG += [{"RANK": "one"}, {"MASTER_PORT": "0"}, {"MASTER_PORT": "65536"}]


@pytest.mark.parametrize("wrong", WRONG)
def test_variables_that_are_no_rank_are_refused(wrong: dict[str, str]):
    (name, value), *_ = wrong.items()
    with pytest.raises(UserError, match=f"{name}={value}.* not a rank among several processes: start train.py"):
        processes.ranks_of(TORCHRUN | wrong)


def test_a_half_set_environment_is_one_line_of_train_py(go, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "0")
    result = go()
    assert result.exit_code == 2
    assert result.output.startswith("error: RANK set in the environment, but not WORLD_SIZE, LOCAL_RANK, ")
    assert result.output.count("\n") == 1


def test_others_that_cannot_be_reached_are_one_error(monkeypatch: pytest.MonkeyPatch):
    for name, value in (TORCHRUN | {"MASTER_PORT": "1"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "_CONNECT_S", 0.5)
    with pytest.raises(UserError, match=r"rank 3 of 4 cannot reach the others through localhost:1 \(MASTER_ADDR, "):
        processes.connect()
    assert not distributed.is_initialized()


def test_a_process_on_its_own_does_not_initialise_torch_distributed(go, monkeypatch: pytest.MonkeyPatch):
    seen: list[bool] = []
    monkeypatch.setattr(launch, "start", lambda *_, **__: seen.append(distributed.is_initialized()) or [].pop())
    result = go()
    assert isinstance(result.exception, IndexError)
    assert seen == [False]


@pytest.mark.parametrize("text", ["0.5", "1801", "nan", "soon", ""])
def test_a_limit_that_is_no_time_is_refused(text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GTZAN_STREAM_RANK_TIMEOUT_S", text)
    with pytest.raises(UserError, match=f"1 to 1800 seconds; got {text!r}"):
        processes._timeout_s()


def test_ranks_end_within_a_minute():
    assert processes._timeout_s() < 60


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Exit statuses of processes that share a store, of which this is one."""
    statuses: list[int] = []

    def exit_(status: int) -> None:
        statuses.append(status)
        raise SystemExit(status)

    monkeypatch.setattr(processes, "_store", distributed.HashStore())
    monkeypatch.setattr(processes, "_exit", exit_)
    monkeypatch.setattr(processes.signal, "signal", lambda *_: None)
    return statuses


def end(status: int, text: str, error: Exception | None = None) -> None:
    with pytest.raises(SystemExit):
        processes.end(status, text, error=error)


LOST = collectives.RankLost("lost")


def test_processes_with_the_same_error_print_it_once_and_others_print_their_own(ended, capsys):
    for text in ("error: a", "error: a", "error: b"):
        end(2, text)
    assert capsys.readouterr().err == "error: a\nerror: b\n"
    assert ended == [2, 2, 2]


def test_a_lost_rank_is_printed_once_and_only_if_it_printed_nothing(ended, capsys):
    end(2, "error: lost", LOST)
    end(2, "error: lost", LOST)
    assert capsys.readouterr().err == "error: lost\n"
    end(2, "error: own")
    assert capsys.readouterr().err == "error: own\n"


@pytest.mark.parametrize("is_bug", [True, False])
def test_a_rank_that_printed_an_error_is_not_reported_as_lost(ended, capsys, is_bug: bool):
    if is_bug:
        with pytest.raises(SystemExit):
            processes._print_and_exit(ValueError, ValueError("a mistake"), None)
    else:
        end(2, "error: own")
    end(2, "error: lost", LOST)
    assert capsys.readouterr().err == ("ValueError: a mistake\n" if is_bug else "error: own\n")
    assert ended == [1 if is_bug else 2, 2]


def test_each_rank_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch):
    def on(rank: int, size: int, gpus: int, name: str) -> Any:
        monkeypatch.setattr(device, "rank_and_world_size", lambda: (rank, size))
        monkeypatch.setattr(device, "local_rank_and_size", lambda: (rank, size))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        return device.find(name)

    assert [on(rank, 2, 2, name) for name in ("auto", "cuda") for rank in range(2)] == 2 * [
        torch.device("cuda", rank) for rank in range(2)
    ]
    assert on(1, 2, 0, "auto") == on(1, 2, 2, "cpu") == torch.device("cpu")
    assert on(0, 1, 2, "cuda:1") == torch.device("cuda:1")
    for name in ("auto", "cuda"):
        with pytest.raises(UserError, match="torchrun started 3 processes here, but torch sees 2 GPUs; choose --nproc"):
            on(1, 3, 2, name)
    with pytest.raises(UserError, match="--device cuda:1 is one GPU, but torchrun started 2 processes here"):
        on(0, 2, 2, "cuda:1")


def test_the_settings_of_a_run_do_not_name_the_gpu_of_a_rank(tiny, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device, "find", lambda name: torch.device("cuda:1"))
    monkeypatch.setattr(device, "precision", lambda *_: "fp32")
    assert [completed(shards=str(tiny), device=name).device for name in ("auto", "cuda")] == ["cuda", "cuda"]


def test_batch_norm_over_all_ranks_needs_gpus(go):
    result = go("--sync-batch-norm")
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert result.output.startswith("error: --sync-batch-norm needs GPUs: ")


def test_ranks_other_than_0_draw_their_own_numbers_in_each_step(monkeypatch: pytest.MonkeyPatch):
    def drawn(rank: int, seed: int, step: int) -> float:
        monkeypatch.setattr(collectives, "rank_and_world_size", lambda: (rank, 4))
        torch.manual_seed(5)
        collectives.seed_rank(seed, step)
        return torch.rand(()).item()

    assert drawn(0, 1, 1) == drawn(0, 2, 2)
    cases = [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2)]
    assert len({drawn(*case) for case in [*cases, (0, 1, 1)]}) == 5
    assert [drawn(*case) for case in cases] == [drawn(*case) for case in cases]


@pytest.fixture(autouse=True)
def _loggers(monkeypatch: pytest.MonkeyPatch):
    """Restore what `connect` changes."""
    level = logging.getLogger("gtzan_stream").level
    with warnings.catch_warnings():
        yield
    logging.getLogger("gtzan_stream").setLevel(level)
