"""Where Triton cannot launch kernels, torch is used instead, and a warning says why."""

import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from gtzan_stream.dsp import backend as module
from gtzan_stream.kernels import triton_trial
from tests.conftest import need

GPUS = torch.device("cuda", 0), torch.device("cuda", 1)


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Devices on which the trial kernel was launched. It fails on the first GPU."""
    need("triton")
    launched = []

    def launch(device: torch.device) -> None:
        launched.append(device)
        if device == GPUS[0]:
            raise RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable.")

    monkeypatch.setattr(triton_trial, "launch", launch)
    monkeypatch.setattr(module, "_trials", {})
    return launched


def test_torch_is_used_on_a_gpu_where_triton_cannot_launch(launches, caplog):
    for _ in range(3):
        assert module._usable_kernels(GPUS[0]) == ["torch"]
        assert module._usable_kernels(GPUS[1]) == ["triton", "torch"]
    assert launches == list(GPUS)
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert "Triton cannot run kernels on cuda:0 (Failed to find C compiler.): plain torch" in warning.getMessage()
    assert "TRITON_CACHE_DIR" in warning.getMessage()


def test_threads_try_a_gpu_once(launches, caplog, monkeypatch):
    launch, second = triton_trial.launch, threading.Event()

    def slow(device: torch.device) -> None:
        second.wait(0.2)  # until the other thread launches too, if it could
        second.set()
        launch(device)

    monkeypatch.setattr(triton_trial, "launch", slow)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(module._triton_works, [GPUS[0]] * 2)) == [False, False]
    assert launches == [GPUS[0]]
    assert len(caplog.records) == 1


def test_a_trial_that_really_fails_is_no_error(caplog, monkeypatch):
    """There is no GPU of this number, so torch or Triton raises whatever it raises."""
    need("triton")
    monkeypatch.setattr(module, "_trials", {})
    assert not module._triton_works(torch.device("cuda", 99))
    assert len(caplog.records) == 1


PROGRAM = """
import logging, torch
logging.basicConfig(format="%(message)s")
from gtzan_stream.augment import recipe
from gtzan_stream.features import LogMel
waveform, keys = 0.1 * torch.randn(16, 70_000), [str(i) for i in range(16)]
transform, features = recipe("study"), LogMel()
expected = features(transform(waveform, keys))
got = features.cuda()(transform(waveform.cuda(), keys)).cpu()
assert (got - expected).norm() < 1e-3 * expected.norm(), (got - expected).norm() / expected.norm()
"""


@pytest.mark.parametrize("fault", ["no compiler", "no folder"])
def test_a_recipe_runs_on_a_gpu_where_triton_cannot_compile(fault: str, cuda: torch.device, tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "TRITON_CACHE_DIR": str(tmp_path)}
    if fault == "no compiler":
        environment["PATH"] = ""
        environment.pop("CC", None)
    else:
        (tmp_path / "file").touch()
        environment["TRITON_CACHE_DIR"] = str(tmp_path / "file")
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Triton cannot run kernels on cuda:0") == 1, done.stderr


LOADED = """
import sys
import torch
from gtzan_stream.augment import Compose, GaussianNoise, SpeedPerturb
from gtzan_stream.dsp import backend
from gtzan_stream.dsp.backend import force
from gtzan_stream.features import LogMel
from gtzan_stream.loader import Loader
backend._shared = backend.RowThreads(1)  # Triton's interpreter works in one thread at a time
def first(name):
    settings = {"augment": Compose([SpeedPerturb(0.9, 1.1), GaussianNoise(0.01, 0.1)]), "features": LogMel(frames=4)}
    with force(name), Loader(sys.argv[1], **settings, batch_size=2, num_workers=0) as loader:
        return next(iter(loader))
plain, triton = first("torch"), first("triton")
assert plain.keys == triton.keys and (plain.starts == triton.starts).all()
assert (plain.features - triton.features).abs().max() < 1e-4
"""


def test_a_backend_can_be_forced_through_a_loader(shards: Path):
    need("triton")
    root = Path(__file__).parent.parent
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", LOADED, str(shards)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
