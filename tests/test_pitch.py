"""Pitch shift: frequencies, levels, edges, and spectrograms like librosa's with its vocoder."""

import librosa
import numpy as np
import pytest
import torch

from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.pitch import pitch_shift, source
from gtzan_stream.dsp.stretch import METHODS
from tests.conftest import no_synchronisation
from tests.test_vocoder import music

SAMPLE_RATE = 22050
BACKENDS = ["torch", "numba"]


def peak_hz(waveform: torch.Tensor) -> float:
    """Find the frequency of the strongest partial, to a tenth of a Hz."""
    spectrum = torch.fft.rfft(
        waveform.double() * torch.hann_window(len(waveform), dtype=torch.float64), 10 * SAMPLE_RATE
    )
    return spectrum.abs().argmax().item() / 10


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n_steps", [-12.0, -7.0, -0.5, 0.0, 0.37, 5.0, 12.0])
def test_a_tone_moves_by_semitones_and_keeps_its_level(backend, n_steps):
    tone = torch.sin(2 * torch.pi * 440 / SAMPLE_RATE * torch.arange(2 * SAMPLE_RATE, dtype=torch.float64)).float()
    before, total = source(SAMPLE_RATE, np.array([n_steps]))
    with force(backend):
        shifted = pitch_shift(tone[None, : total[0]], n_steps, SAMPLE_RATE, offset=before)[0]
    assert abs(peak_hz(shifted) - 440 * 2 ** (n_steps / 12)) < 0.15
    assert abs(shifted.square().mean().sqrt() - 2**-0.5) < 0.01


@pytest.mark.parametrize("n_steps", [-12, -5, -1.5, 2, 7, 12])
def test_the_mel_spectrogram_resembles_librosas(n_steps):
    x = music()
    theirs = librosa.effects.pitch_shift(x, sr=SAMPLE_RATE, n_steps=n_steps)

    def correlation(steps: float) -> float:
        ours = pitch_shift(torch.from_numpy(x).float()[None], steps, len(x), method="vocoder")[0].numpy()
        mels = [
            np.log10(1e-2 + librosa.feature.melspectrogram(y=y, sr=SAMPLE_RATE, n_mels=64, fmax=4000))
            for y in (ours, theirs)
        ]
        return np.corrcoef(mels[0].ravel(), mels[1].ravel())[0, 1]

    same, other = correlation(float(n_steps)), correlation(n_steps + 1.0)
    assert same > 0.99
    assert other < same - 0.2


@pytest.mark.parametrize("n_steps", [-7.0, 5.0, 12.0])
def test_without_an_offset_the_level_is_at_least_librosas(n_steps):
    tone = np.sin(2 * np.pi * 440 / SAMPLE_RATE * np.arange(3 * SAMPLE_RATE))
    theirs = librosa.effects.pitch_shift(tone, sr=SAMPLE_RATE, n_steps=n_steps)[8000:-30_000].std()
    ours = pitch_shift(torch.from_numpy(tone).float()[None], n_steps, len(tone))[0, 8000:-30_000].std().item()
    assert ours > 0.97 * theirs


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n_steps", [-12.0, -3.3, 0.0, 2.0, 12.0])
def test_the_output_has_no_edge_effects(backend, n_steps):
    x = torch.from_numpy(music(8.0)).float()
    length, start = 20_000, 60_000
    before, total = source(length, np.array([n_steps]))
    first, last = start - int(before[0]), start - int(before[0]) + int(total[0])
    with force(backend):
        cut = pitch_shift(x[None, first:last], n_steps, length, offset=before)
        wider = pitch_shift(x[None, first - 5120 : last + 3000], n_steps, length, offset=before + 5120)
    assert cut.abs().max() > 0.05
    torch.testing.assert_close(cut, wider, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_steps", np.linspace(-12, 12, 33))
def test_samples_beyond_those_that_source_asks_for_are_not_read(rng, n_steps, method):
    for length in (1, 1000, 1999):
        before, total = source(length, np.array([n_steps]), method=method)
        x = torch.from_numpy(rng.standard_normal((2, 2560 + int(total[0]) + 7)).astype(np.float32))
        x[1] = x[0]
        x[1, :2560], x[1, -7:] = 1e6, 1e6
        one, other = pitch_shift(x, n_steps, length, offset=2560.0 + before[0], method=method)
        assert torch.equal(one, other), length


def test_a_row_is_the_same_alone_bit_for_bit():
    x = torch.from_numpy(np.stack([music(2.0, seed) for seed in range(3)])).float()
    n_steps = np.array([-4.0, 0.0, 9.5])
    together = pitch_shift(x, n_steps, 40_000)
    for row in range(3):
        assert torch.equal(together[row], pitch_shift(x[row : row + 1], n_steps[row], 40_000)[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("offset", [None, np.array([900.0, 5.0, 700.0, -300.0])])
def test_every_backend_agrees_with_the_oracle(backend, offset):
    x = torch.from_numpy(np.stack([music(1.0), np.zeros(SAMPLE_RATE), music(1.0, 2), music(1.0, 3)])).flip(1)
    n_steps = np.array([-7.3, 2.0, 4.4, 11.0])
    with force(backend):
        result = pitch_shift(x.float(), n_steps, 20_000, offset=offset)
    exact = pitch_shift(x, n_steps, 20_000, offset=offset).float()
    torch.testing.assert_close(result, exact, atol=5e-4, rtol=0)
    assert (result[1] == 0).all()


def test_every_backend_stretches_by_the_method():
    x, results = torch.from_numpy(music(1.0)[5000:]).float()[None], {}
    for method in METHODS:
        for backend in BACKENDS:
            with force(backend):
                results[method, backend] = pitch_shift(x, 3.0, 15_000, method=method)
        torch.testing.assert_close(results[method, "numba"], results[method, "torch"], atol=5e-4, rtol=0)
    assert (results["locked", "torch"] - results["vocoder", "torch"]).abs().max() > 0.05


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("time", [0, 1, 700, 2048])
def test_short_clips(rng, backend, time):
    x = torch.from_numpy(rng.standard_normal((3, time)).astype(np.float32))
    with force(backend):
        result = pitch_shift(x, np.array([-12.0, 0.0, 12.0]), time)
    assert result.shape == (3, time)
    assert result.isfinite().all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_shape_and_dtype_are_kept_and_the_input_is_not_modified(rng, backend):
    x = torch.from_numpy(rng.standard_normal((3000, 2)).astype(np.float32)).T
    kept = x.clone()
    with force(backend):
        assert pitch_shift(x[:0], np.ones(0), 100).shape == (0, 100)
        assert torch.equal(pitch_shift(x, 1.2, 2500), pitch_shift(x.contiguous(), 1.2, 2500))
    assert pitch_shift(x.double(), 1.2, 2500).dtype == torch.float64
    assert torch.equal(x, kept)


def test_a_shift_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="n_steps: every value must be finite, got"):
        pitch_shift(torch.zeros(1, 100), float("nan"), 100)


def test_cuda_equals_float64_without_a_sync(cuda):
    x, n_steps = torch.from_numpy(np.stack([music(), music(4.0, 1)])), np.array([-3.0, 4.0])
    on_gpu = x.float().to(cuda)
    pitch_shift(on_gpu, n_steps, 60_000)  # compiles
    with no_synchronisation():
        result = pitch_shift(on_gpu, n_steps, 60_000)
    reference = pitch_shift(x, n_steps, 60_000)
    assert (result.cpu() - reference).norm() < 1e-3 * reference.norm()
