"""Percussive separation compared with librosa; silence, empty batches, and segments of a clip."""

import warnings

import librosa
import numpy as np
import pytest
import soundfile
import torch

from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.hpss import percussive
from tests.conftest import no_synchronisation


def music(n: int, seed: int = 0) -> np.ndarray:
    """Chords, clicks and a little noise, float32 [n]."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / 22050
    tones = sum(np.sin(2 * np.pi * f * t) for f in (220, 277, 330))
    clicks = rng.standard_normal(n) * np.exp(-60 * (t % 0.25))
    return (0.1 * tones + 0.3 * clicks + 0.001 * rng.standard_normal(n)).astype(np.float32)


def relative(got: torch.Tensor, reference: np.ndarray) -> float:
    error = np.linalg.norm(got.double().numpy() - reference)
    return float(error / np.linalg.norm(reference))


@pytest.mark.parametrize("name", ["torch", "numba"])
@pytest.mark.parametrize(
    ("n", "options"),
    [
        (66_150, {}),
        (66_150, {"margin": 3.0}),
        (66_150, {"power": 1.5}),
        (40_001, {"kernel_size": 17, "n_fft": 1024}),
        (9_000, {}),  # 18 frames, fewer than the median
        (100, {}),  # one frame
        (1, {}),
    ],
)
def test_equals_librosa(name, n, options):
    y = music(n)
    before = y.copy()
    with force(name):
        got = percussive(torch.from_numpy(y)[None], **options)[0]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_fft=.* is too large")
        reference = librosa.effects.percussive(y, **options)
    assert relative(got, reference) < 1e-3
    assert got.dtype == torch.float32
    assert np.array_equal(y, before)


@pytest.mark.parametrize("name", ["torch", "numba"])
@pytest.mark.parametrize("margin", [1.0, 2.0])
def test_a_bin_with_two_zero_medians_equals_librosa(name, margin):
    """One bin sounds in one frame. With margin 1, half of it is percussive; with a larger margin, nothing is."""
    y = np.zeros(201, np.float32)
    y[100], y[102] = 0.5, -0.5
    reference = librosa.effects.percussive(y, n_fft=4, margin=margin)
    assert not np.allclose(reference, librosa.effects.percussive(y, n_fft=4, margin=3.0 - margin))
    with force(name):
        np.testing.assert_allclose(
            percussive(torch.from_numpy(y)[None], n_fft=4, margin=margin)[0], reference, atol=1e-6
        )


def test_equals_librosa_on_real_clips(gtzan_root):
    paths = sorted(gtzan_root.glob("*/*.wav"))[::40]
    assert paths
    for path in paths:
        y = soundfile.read(path, dtype="float32", stop=22050 * 10)[0]
        assert relative(percussive(torch.from_numpy(y)[None])[0], librosa.effects.percussive(y)) < 1e-3


def test_float64_is_exact():
    y = music(30_000).astype(np.float64)
    got = percussive(torch.from_numpy(y)[None])[0]
    assert got.dtype == torch.float64
    assert relative(got, librosa.effects.percussive(y)) < 1e-9


@pytest.mark.parametrize("name", ["torch", "numba"])
@pytest.mark.parametrize("margin", [1.0, 2.0])
def test_silence_stays_silence(name, margin):
    y = torch.zeros(2, 20_000)
    y[1, 9_000] = 1e-30  # the square of its spectrum underflows
    with force(name):
        got = percussive(y, margin=margin)
    assert torch.isfinite(got).all()
    assert (got[0] == 0).all()
    assert got.abs().max() <= 1e-30


@pytest.mark.parametrize("name", ["torch", "numba"])
def test_quiet_music_is_separated_like_loud_music(name):
    y = torch.from_numpy(music(9_000))[None]
    with force(name):
        assert torch.equal(percussive(2.0**-40 * y), 2.0**-40 * percussive(y))


@pytest.mark.parametrize("n", [0, 5000])
def test_empty_batches_and_examples(n):
    assert percussive(torch.zeros(0, n)).shape == (0, n)
    assert percussive(torch.zeros(2, 0)).shape == (2, 0)


def test_a_row_does_not_depend_on_its_batch():
    batch = torch.from_numpy(np.stack([music(20_000, seed) for seed in range(5)]))
    together = percussive(batch)
    for i in range(5):
        assert torch.equal(percussive(batch[i : i + 1])[0], together[i])


def test_a_segment_with_20_hops_on_each_side_equals_that_part_of_the_clip():
    y = torch.from_numpy(music(120_000))[None]
    start, length, side = 40_960, 30_000, 20 * 512
    segment = y[:, start - side : start + length + side]
    whole = percussive(y)[0, start : start + length]
    assert relative(percussive(segment)[0, side : side + length], whole.numpy()) < 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 30}, "kernel_size"),
        ({"n_fft": 1023}, "n_fft"),
        ({"n_fft": 0}, "n_fft"),
        ({"power": 0.0}, "power"),
        ({"margin": 0.5}, "margin"),
    ],
)
def test_wrong_arguments_raise_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        percussive(torch.zeros(1, 100), **options)


def test_cuda_equals_the_cpu_without_a_sync(cuda):
    y = torch.from_numpy(np.stack([music(66_150, seed) for seed in range(3)]))
    on_device = y.to(cuda)
    percussive(on_device)
    with no_synchronisation():
        got = percussive(on_device)
    assert relative(got.cpu(), percussive(y).numpy()) < 1e-4
