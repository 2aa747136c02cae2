"""A GPU computes the same in every run of train.py, so that a resumed run equals an uninterrupted one."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.utils.deterministic

import models
from gtzan_stream.training import device
from gtzan_stream.training.run import Run
from tests.train_cases import assert_equal_runs, completed

VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


def settings() -> tuple[bool, bool, bool, bool]:
    return (
        torch.backends.cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
    )


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start with torch's defaults, and restore them."""
    monkeypatch.setenv(VARIABLE, "")  # so that it is removed in the end
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    assert settings() == (False, False, False, True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True


def test_a_gpu_is_made_repeatable() -> None:
    """The settings can be changed without a GPU."""
    device.make_repeatable(torch.device("cuda"))
    assert settings() == (True, True, True, False)
    assert os.environ[VARIABLE] == ":4096:8"


def test_a_given_setting_of_cublas_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, ":16:8")
    device.make_repeatable(torch.device("cuda"))
    assert os.environ[VARIABLE] == ":16:8"


def test_the_cpu_needs_no_settings() -> None:
    device.make_repeatable(torch.device("cpu"))
    assert settings() == (False, False, False, True)
    assert VARIABLE not in os.environ


def test_a_run_makes_its_device_repeatable(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(device, "make_repeatable", made.append)
    Run(completed(shards=str(tiny), device="cpu"), tmp_path, build=models.build).close()
    assert made == [torch.device("cpu")]


@pytest.mark.filterwarnings("default:.*does not have a deterministic implementation")
@pytest.mark.parametrize("model", ["cnn2d", "crnn_time", "alexnet"])
def test_a_resumed_run_on_a_gpu_equals_an_unbroken_one(model: str, cuda: torch.device, go, monkeypatch) -> None:
    options = ["--device", "cuda", "--model", model]
    assert go("--name", f"{model}-unbroken", *options).exit_code == 0
    step, steps = Run.step, []

    def then_interrupt(self: Run, batch: object) -> None:
        step(self, batch)
        steps.append(1)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Run, "step", then_interrupt)
    assert go("--name", f"{model}-resumed", *options).exit_code == 130
    monkeypatch.setattr(Run, "step", step)
    assert go("--resume", str(go.out / f"{model}-resumed"), defaults=False).exit_code == 0
    assert_equal_runs(go.out / f"{model}-unbroken", go.out / f"{model}-resumed")
