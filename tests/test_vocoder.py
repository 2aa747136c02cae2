"""Time stretch by the phase vocoder, compared with librosa and with float64; pitch, tempo and edges."""

import functools

import librosa
import numpy as np
import pytest
import soundfile
import torch

from gtzan_stream.dsp import stretch
from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.vocoder import _vocode
from gtzan_stream.kernels import numba_vocoder
from tests.conftest import no_synchronisation

SAMPLE_RATE = 22050
BACKENDS = ["torch", "numba"]
RATES = [0.5, 0.8, 1.0, 1.1, 1.37, 2.0]
# librosa 1.0 repeats a clip's last frame; 0.11 and this package fade it out. The last half frame of samples differs.
FADED = 0 if librosa.__version__.startswith("0.") else 1024


source = functools.partial(stretch.source, method="vocoder")
time_stretch = functools.partial(stretch.time_stretch, method="vocoder")


@functools.cache
def music(seconds: float = 4.0, seed: int = 0) -> np.ndarray:
    """Make digital silence, then decaying chords over a sweep, noise bursts, a noise floor of -60 dB, and a gap.

    Without the noise floor, bins between partials would be below float32's resolution, and their phases random.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    x = 0.1 * np.sin(2 * np.pi * (200 + 300 * t) * t)
    for beat in np.arange(0, seconds, 0.37):
        after = np.maximum(t - beat, 0)
        pitch = 110 * 2 ** (rng.integers(0, 24) / 12)
        x += sum(0.3 / k * np.sin(2 * np.pi * k * pitch * after) * np.exp(-6 * after) for k in range(1, 9)) * (
            t >= beat
        )
        x += 0.2 * rng.standard_normal(len(t)) * np.exp(-40 * after) * (t >= beat)
    x = x / np.abs(x).max() + 1e-3 * rng.standard_normal(len(t))
    x[:5000] = 0
    x[40_000:47_000] = 0
    return x


def relative(result: torch.Tensor, reference: np.ndarray) -> float:
    return float(np.linalg.norm(result.double().numpy() - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize("rate", RATES)
def test_time_stretch_equals_librosa(rate):
    x = music()
    reference = librosa.effects.time_stretch(x, rate=rate)
    batch = torch.from_numpy(np.stack([x, x]))
    end = len(reference) - FADED
    assert relative(time_stretch(batch, rate, len(reference))[1, :end], reference[:end]) < 1e-8
    for backend in BACKENDS:
        with force(backend):
            result = time_stretch(batch.float(), np.array([rate, 1.3]), len(reference) + 100)
        assert relative(result[0, :end], reference[:end]) < 2e-4, backend
        assert (result[0, len(reference) :] == 0).all()


@pytest.mark.parametrize("rate", [0.8, 1.25])
def test_time_stretch_equals_librosa_on_real_clips(gtzan_root, rate):
    clips = sorted(gtzan_root.glob("*/*.wav"))[::20][:3]
    assert clips
    for clip in clips:
        x, _ = soundfile.read(clip)
        reference = librosa.effects.time_stretch(x, rate=rate)
        result = time_stretch(torch.from_numpy(x).float()[None], rate, len(reference))[0]
        end = len(reference) - FADED
        assert relative(result[:end], reference[:end]) < 1e-3, clip


def test_float32_does_not_drift_over_a_long_clip():
    x = torch.from_numpy(music(12.0))[None]
    result, reference = time_stretch(x.float(), 0.73, 360_000), time_stretch(x, 0.73, 360_000)
    end = slice(300_000, 360_000)
    assert relative(result[0, end], reference[0, end].numpy()) < 1e-3


@pytest.mark.parametrize("rate", [0.5, 0.9, 1.2, 2.0])
def test_a_tone_keeps_its_pitch_and_level(rate):
    time = torch.arange(66_150, dtype=torch.float64)
    tone = torch.sin(2 * torch.pi * 440 / SAMPLE_RATE * time).float()
    before, total = source(22_050, np.array([rate]))
    result = time_stretch(tone[None, : total[0]], rate, 22_050, offset=before)[0]
    spectrum = torch.fft.rfft(result * torch.hann_window(22_050)).abs() / (22_050 / 4)
    assert spectrum.argmax() == 440
    assert abs(spectrum.max() - 1) < 0.02


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("offset", [None, np.array([3000.0, 0.0, -700.0, 1e6, -100.0])])
def test_every_backend_agrees_with_the_oracle(backend, offset):
    x = np.stack([music(1.0), music(1.0, 1), np.zeros(SAMPLE_RATE), music(1.0, 2), music(1.0, 3)])
    x = torch.from_numpy(x).flip(1)  # loud from the start: the last row begins with its second frame
    rates = np.array([0.6, 1.0, 1.3, 2.0, 2.0])
    with force(backend):
        result = time_stretch(x.float(), rates, 20_000, offset=offset)
    torch.testing.assert_close(result, time_stretch(x, rates, 20_000, offset=offset).float(), atol=2e-4, rtol=0)
    assert (result[2] == 0).all()


def vocoded(backend: str, frames: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Run the phase vocoder on a spectrogram [frame, freq], read at `position`; its first frame must not be silent."""
    frames = frames.astype(np.complex64)
    if backend == "torch":
        positions = torch.from_numpy(position)[None]
        sounding = torch.ones_like(positions, dtype=torch.bool)
        return _vocode(torch.from_numpy(frames.T)[None], positions, sounding)[0].T.numpy()
    phase = frames[0] / np.abs(frames[0])
    out = np.empty((len(position), frames.shape[1]), np.complex64)
    parts = np.stack([phase.real, phase.imag])
    numba_vocoder.vocode(frames.view(np.float32), position, parts, out.view(np.float32))
    return out


@pytest.mark.parametrize("backend", BACKENDS)
def test_rounding_does_not_add_up_over_a_hundred_thousand_frames(rng, backend):
    frames = np.exp(2j * np.pi * rng.random((2, 64)))
    np.testing.assert_allclose(np.abs(vocoded(backend, frames, np.zeros(100_000))), 1, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("level", "is_silent"), [(0, True), (1e-20, True), (1e-15, False)])
def test_the_phase_of_a_silent_bin_counts_as_0(backend, level, is_silent):
    frames = np.exp(1j * np.array([[0.3], [2.0], [-1.0], [-1.0]])) * np.array([[1], [level], [1], [1]])
    # The phase of the second output is that of frame 0 plus the difference between frames 0 and 1.
    out = vocoded(backend, frames, np.array([0.0, 2.0]))
    np.testing.assert_allclose(out, np.exp(1j * np.array([[0.3], [0.0 if is_silent else 2.0]])), atol=1e-6)


def test_cuda_equals_float64_without_a_sync(cuda):
    x, rates = torch.from_numpy(np.stack([music(), music(4.0, 1)])), np.array([0.8, 1.3])
    on_gpu = x.float().to(cuda)
    time_stretch(on_gpu, rates, 60_000)  # compiles, and makes the window
    with no_synchronisation():
        result = time_stretch(on_gpu, rates, 60_000)
    for row, reference in zip(result.cpu(), time_stretch(x, rates, 60_000), strict=True):
        assert relative(row, reference.numpy()) < 1e-3
