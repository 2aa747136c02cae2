"""TF32 is off while any thread computes in full precision, and the process's settings return afterwards."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from gtzan_stream.features import LogMel, log_mel, whole_clips
from gtzan_stream.features import full_precision as module
from gtzan_stream.features.full_precision import full_precision
from tests.augment_cases import music

GPU = torch.device("cuda")  # settings can be changed where there is none
SETTINGS = torch.backends.cudnn.conv, torch.backends.cuda.matmul


def precisions() -> list[str]:
    return [setting.fp32_precision for setting in SETTINGS]


def set_precisions(values: list[str]) -> None:
    for setting, value in zip(SETTINGS, values, strict=True):
        setting.fp32_precision = value


@pytest.fixture(autouse=True)
def different_settings() -> Iterator[None]:
    """Start each test with two different settings, and restore the process's own. monkeypatch cannot restore them."""
    own = precisions()
    set_precisions(["tf32", "none"])
    yield
    set_precisions(own)


@pytest.mark.parametrize("first_to_end", [0, 1])
def test_the_last_of_two_overlapping_blocks_restores_the_settings(first_to_end: int) -> None:
    blocks = [full_precision(GPU), full_precision(GPU)]
    for block in blocks:
        block.__enter__()
        assert precisions() == ["ieee", "ieee"]
    blocks[first_to_end].__exit__(None, None, None)
    assert precisions() == ["ieee", "ieee"]
    blocks[1 - first_to_end].__exit__(None, None, None)
    assert precisions() == ["tf32", "none"]


def test_settings_return_after_an_error() -> None:
    with pytest.raises(KeyError), full_precision(GPU):
        raise KeyError
    assert precisions() == ["tf32", "none"]


def test_the_cpu_needs_no_settings() -> None:
    with full_precision(torch.device("cpu")):
        assert precisions() == ["tf32", "none"]


def test_a_setting_that_was_changed_inside_is_kept() -> None:
    with full_precision(GPU):
        SETTINGS[1].fp32_precision = "tf32"
    assert precisions() == ["tf32", "tf32"]


def test_threads_begin_and_end_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the lock, the second thread would compute before the first one has switched TF32 off."""
    inside, others, seen = threading.Event(), threading.Event(), []
    settings = module._settings

    def slow() -> object:
        if threading.current_thread() is not threading.main_thread() and not inside.is_set():
            inside.set()
            others.wait(0.2)  # the other thread has begun, if it could
        return settings()

    def compute(wait: bool) -> None:
        if wait:
            inside.wait(20)
        with full_precision(GPU):
            others.set()
            seen.append(precisions())

    monkeypatch.setattr(module, "_settings", slow)
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(compute, wait) for wait in (False, True)]:
            future.result(20)
    assert seen == [["ieee", "ieee"]] * 2
    assert precisions() == ["tf32", "none"]


def test_trainable_kernels_compute_without_tf32_on_cuda(cuda: torch.device) -> None:
    set_precisions(["tf32", "tf32"])
    waveform = music(2, 30_000)
    expected = whole_clips(LogMel(), waveform)
    got = whole_clips(LogMel(trainable=True).to(cuda), waveform.to(cuda)).cpu()
    assert (got - expected).norm() < 1e-5 * expected.norm()
    assert precisions() == ["tf32", "tf32"]


def test_trainable_kernels_switch_tf32_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings while nnAudio convolves, as on a GPU."""
    features, seen = LogMel(trainable=True), []
    features.convolution.register_forward_hook(lambda *_: seen.append(precisions()))
    monkeypatch.setattr(log_mel, "full_precision", lambda device: full_precision(GPU))
    features(music(1, features.geometry.read_length))
    assert seen == [["ieee", "ieee"]]
    assert precisions() == ["tf32", "none"]
