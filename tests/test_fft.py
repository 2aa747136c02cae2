"""FFTs of a batch's frames: the same results with a rounded number of frames, and few sizes over many batches."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gtzan_stream.augment import recipe
from gtzan_stream.dsp import fft, hpss, locked, resample, vocoder
from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.fft import empty_spectrum, rounded, unscaled_irfft, windowed_rfft
from gtzan_stream.dsp.hpss import percussive
from gtzan_stream.dsp.stretch import time_stretch
from gtzan_stream.features import LogMel
from tests.augment_cases import keys, music
from tests.conftest import MANY


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fft, "_is_rounded", lambda tensor: True)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Sizes of all FFTs: number of frames, samples of a frame."""
    seen, (rfft, inverse) = [], (torch.fft.rfft, torch.fft.irfft)

    def add(frames: torch.Tensor) -> torch.Tensor:
        seen.append((frames.shape[:-1].numel(), frames.shape[-1]))
        return frames

    monkeypatch.setattr(torch.fft, "rfft", lambda frames: rfft(add(frames)))
    monkeypatch.setattr(torch.fft, "irfft", lambda *args, **options: add(inverse(*args, **options)))
    return seen


def test_sizes_are_at_least_the_number_of_frames_and_a_third_more_at_most():
    for n in range(1, 20_000):
        assert n <= rounded(n)
        assert rounded(n) <= max(1024, n * 3 / 2)
    assert len({rounded(n) for n in range(1, 16_385)}) == 9


@pytest.mark.parametrize("name", ["study", "strong"])
def test_few_sizes_occur_over_many_batches(name, sizes, monkeypatch):
    """Meta tensors take the path of a GPU, without memory or computation. What needs no FFT is left out, for speed."""
    monkeypatch.setattr(resample, "_resample_torch", lambda x, *others: x.new_empty(len(x), others[-1]))
    monkeypatch.setattr(locked, "_turn", lambda now, past, shifts: torch.empty_like(now))
    monkeypatch.setattr(vocoder, "_vocode", lambda x, position, valid: x.new_empty(len(x), 1025, position.shape[1]))
    monkeypatch.setattr(hpss, "median_filter", lambda x, size, axis: x)
    transform = recipe(name)
    length = np.full(64, LogMel().geometry.read_length)
    n_batches = 20 * MANY
    for epoch in range(n_batches):
        draw = transform.draw(keys(64), seed=3, epoch=epoch)
        waveform = torch.empty(64, int(transform.source(length, draw).length.max()), device="meta")
        transform.apply(waveform, draw, length)
    assert len(sizes) > 4 * n_batches
    assert len(set(sizes)) <= 8


@pytest.mark.parametrize("batch", [1, 3, 40])
def test_rounded_transforms_equal_plain_ones_to_the_bit(batch, as_on_a_gpu):
    waveform, window = music(batch, 20_000), torch.hann_window(512)
    spectrum = torch.fft.rfft(waveform.unfold(1, 512, 128) * window)
    assert torch.equal(windowed_rfft(waveform, window, 128), spectrum)
    padded = torch.nn.functional.pad(waveform, (256, 256)).unfold(1, 512, 128)
    assert torch.equal(windowed_rfft(waveform, window, 128, padding=256), torch.fft.rfft(padded * window))
    plain = torch.fft.irfft(spectrum, n=512) * 512
    assert torch.equal(unscaled_irfft(spectrum, 512), plain)
    assert torch.equal(unscaled_irfft(spectrum[:, 5:], 512), plain[:, 5:])  # not contiguous
    assert torch.equal(unscaled_irfft(spectrum[-1:], 512), plain[-1:])  # at the end of its memory


def test_a_spectrum_with_room_is_not_copied(as_on_a_gpu, sizes):
    spectrum = empty_spectrum((3, 20, 65), torch.zeros(1, dtype=torch.complex64))
    assert spectrum.shape == (3, 20, 65)
    assert spectrum.is_contiguous()
    spectrum.copy_(torch.randn(3, 20, 65, dtype=torch.complex64))
    with CopiesAreErrors():
        frames = unscaled_irfft(spectrum, 128)
    assert sizes == [(1024, 128)]
    assert torch.equal(frames, torch.fft.irfft(spectrum, n=128) * 128)


class CopiesAreErrors(TorchDispatchMode):
    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        assert "copy" not in operator._schema.name
        return operator(*args, **kwargs or {})


def test_transforms_are_the_same_with_rounded_sizes(monkeypatch):
    waveform, rates = music(3, 9000), np.array([0.8, 1.0, 1.3])
    with force("torch"):
        plain = percussive(waveform), time_stretch(waveform, rates, 7000), LogMel()(waveform)
        monkeypatch.setattr(fft, "_is_rounded", lambda tensor: True)
        got = percussive(waveform), time_stretch(waveform, rates, 7000), LogMel()(waveform)
    assert all(torch.equal(a, b) for a, b in zip(got, plain, strict=True))


def test_the_cpu_transforms_as_many_frames_as_there_are(sizes):
    windowed_rfft(torch.zeros(2, 64), torch.ones(16), 8)
    unscaled_irfft(torch.zeros(2, 7, 9, dtype=torch.complex64), 16)
    assert sizes == [(14, 16), (14, 16)]


def test_gradients_pass_on_a_gpu(cuda):
    leaf = music(2, 9000).to(cuda).requires_grad_()
    time_stretch(leaf, 1.1, 7000).square().sum().backward()
    assert leaf.grad.isfinite().all()
    assert leaf.grad.abs().sum() > 0


def test_few_plans_are_made_on_a_gpu(cuda):
    transform, plans = recipe("study"), torch.backends.cuda.cufft_plan_cache[0]
    plans.clear()
    for epoch in range(50):
        transform(music(64, 90_000).to(cuda), keys(64), epoch=epoch)
    assert 2 <= plans.size <= 16
