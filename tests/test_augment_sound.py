"""Each transform compared with physics, scipy and librosa."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from gtzan_stream.augment import (
    Gain,
    GaussianNoise,
    Percussive,
    PitchShift,
    SpeedPerturb,
    TimeShift,
    TimeStretch,
    Transform,
)
from gtzan_stream.dsp.random import hash_key, normal
from tests.augment_cases import keys, music

RATE = 22050


def tone(hz: float, seconds: float = 4.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


def clicks(period: int, n: int, time: int) -> np.ndarray:
    """Return clicks every `period` samples over faint hiss, which gives a vocoder phases between the clicks."""
    wave = 1e-3 * np.random.default_rng(0).standard_normal(time).astype(np.float32)
    for i in range(n):
        wave[(i + 1) * period : (i + 1) * period + 8] = 1.0
    return wave


def pitch_of(wave: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 18))
    return float(spectrum.argmax() * RATE / (1 << 18))


def click_period(wave: np.ndarray) -> float:
    """Return the samples between clicks: the lag from 5,000 to 18,000 with the largest autocorrelation."""
    envelope = scipy.signal.filtfilt(*scipy.signal.butter(2, 30, fs=RATE), wave**2)
    correlation = scipy.signal.correlate(envelope, envelope)[len(wave) - 1 :]
    return 5000.0 + int(correlation[5000:18000].argmax())


def cut(transform: Transform, clip: np.ndarray, start: int, length: int, seed: int = 0) -> np.ndarray:
    """Transform `length` samples from `start`, reading the segment of the clip as a loader does."""
    draw = transform.draw(["blues_00000"], seed=seed)
    source = transform.source(length, draw)
    first = start - int(source.before[0])
    segment = clip[first : first + int(source.length[0])]
    assert len(segment) == source.length[0]
    return transform.apply(torch.from_numpy(segment)[None], draw, length)[0].numpy()


def energy_centre(wave: np.ndarray) -> float:
    """Return the centre of energy, in samples."""
    return float((np.arange(len(wave)) * wave**2).sum() / (wave**2).sum())


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("rate", [0.8, 1.1, 1.5])
def test_stretch_keeps_pitch_and_changes_tempo(rate: float) -> None:
    transform = TimeStretch(rate, rate)
    wave = np.stack([tone(440.0), clicks(11025, 7, 4 * RATE)])
    stretched = transform(torch.from_numpy(wave), keys(2)).numpy()
    ends = int(min(1.0, 1 / rate) * 4 * RATE)
    assert pitch_of(stretched[0, 2048 : ends - 2048]) == pytest.approx(440, abs=1)
    assert click_period(stretched[1, :ends]) == pytest.approx(11025 / rate, rel=0.02)


@pytest.mark.parametrize("n_steps", [12.0, -12.0, 3.5])
def test_pitch_shift_changes_pitch_and_keeps_tempo(n_steps: float) -> None:
    transform = PitchShift(n_steps, n_steps)
    wave = np.stack([tone(440.0), clicks(11025, 7, 4 * RATE)])
    shifted = transform(torch.from_numpy(wave), keys(2)).numpy()
    assert pitch_of(shifted[0, 4096:-4096]) == pytest.approx(440 * 2 ** (n_steps / 12), rel=0.003)
    assert click_period(shifted[1]) == pytest.approx(11025, rel=0.02)


def test_speed_changes_pitch_and_tempo() -> None:
    wave = np.stack([tone(440.0), clicks(11025, 7, 4 * RATE)])
    faster = SpeedPerturb(1.25, 1.25)(torch.from_numpy(wave), keys(2)).numpy()
    assert pitch_of(faster[0, : int(0.8 * 4 * RATE)]) == pytest.approx(440 / 0.8, abs=1)
    assert click_period(faster[1]) == pytest.approx(11025 * 0.8, rel=0.01)
    assert not faster[:, int(0.8 * 4 * RATE) + 64 :].any()  # padded with zeros to the old length


def test_speed_of_a_segment_reads_the_clip_at_scaled_times() -> None:
    t = np.arange(30000)
    clip = (0.3 * np.sin(0.05 * t) + 0.2 * np.sin(0.31 * t + 1)).astype(np.float32)
    out = cut(SpeedPerturb(1 / 0.9, 1 / 0.9), clip, 9000, 5000)
    times = 9000 + np.arange(5000) / 0.9
    assert relative(out, 0.3 * np.sin(0.05 * times) + 0.2 * np.sin(0.31 * times + 1)) < 1e-3


def test_gain_is_linear_and_not_clipped() -> None:
    out = Gain(3.0, 3.0)(torch.tensor([[0.5, -1.0]]), keys(1))
    assert out.tolist() == [[1.5, -3.0]]


def test_gain_in_db_is_uniform_in_db() -> None:
    gains = Gain.in_db(-20.0, 20.0).draw(keys(2000)).values["gain"]
    levels = 20 * np.log10(gains)
    assert levels.min() >= -20
    assert levels.max() <= 20
    assert levels.mean() == pytest.approx(0, abs=1)
    assert (levels < -10).mean() == pytest.approx(0.25, abs=0.04)


def test_shift_of_a_plain_batch_is_a_roll() -> None:
    wave = music(6, 5000)
    transform = TimeShift(-3000, 3000)
    draw = transform.draw(keys(6))
    shifts = draw.values["shift"].astype(int)
    assert len(set(shifts)) > 3
    expected = np.stack([np.roll(row, shift) for row, shift in zip(wave.numpy(), shifts, strict=True)])
    assert np.array_equal(transform.apply(wave, draw).numpy(), expected)


def test_shift_reaches_both_ends_of_its_range() -> None:
    shifts = TimeShift(-2, 1).draw(keys(400)).values["shift"]
    assert set(shifts) == {-2, -1, 0, 1}


def test_shift_of_a_segment_reads_samples_of_the_clip() -> None:
    clip = music(1, 20000)[0].numpy()
    assert np.array_equal(cut(TimeShift(1600, 1600), clip, 8000, 3000), clip[6400:9400])
    assert np.array_equal(cut(TimeShift(-1600, -1600), clip, 8000, 3000), clip[9600:12600])


def test_noise_is_white_gaussian_and_differs_between_examples() -> None:
    noise = GaussianNoise(0.01, 0.01)(torch.zeros(4, 40000), keys(4), seed=1).numpy()
    np.testing.assert_allclose(noise.std(1), 0.01, rtol=0.02)
    np.testing.assert_allclose(noise.mean(1), 0, atol=3e-4)
    assert np.abs(np.corrcoef(noise) - np.eye(4)).max() < 0.03
    assert np.abs((noise[:, 1:] * noise[:, :-1]).mean(1) / 1e-4).max() < 0.03
    assert np.abs((noise**4).mean(1) / 1e-8 - 3).max() < 0.3


def test_noise_is_a_function_of_rng_key_and_crop() -> None:
    transform = GaussianNoise(0.5, 0.5)
    draw = transform.draw(["jazz_00003"], seed=5, crops=[9])
    key = np.array([hash_key("jazz_00003")], np.uint64)
    expected = 0.5 * normal(draw.rng, key, np.array([9], np.uint32), 1000, device="cpu")
    assert torch.equal(transform.apply(torch.zeros(1, 1000), draw), expected)


def test_percussive_equals_librosa() -> None:
    wave = music(2, 30000)
    out = Percussive()(wave, keys(2)).numpy()
    for row, expected in zip(out, wave.numpy(), strict=True):
        assert relative(row, librosa.effects.percussive(expected)) < 1e-3


def test_percussive_of_a_segment_equals_that_of_the_whole_clip() -> None:
    clip = music(1, 512 * 160)[0].numpy()
    whole = librosa.effects.percussive(clip)
    start, length = 512 * 45, 512 * 60 + 512
    assert relative(cut(Percussive(), clip, start, length), whole[start : start + length]) < 1e-3


@pytest.mark.parametrize("genre", ["classical", "metal"])
def test_percussive_of_a_real_segment_equals_that_of_the_whole_clip(gtzan_root: Path, genre: str) -> None:
    clip, _ = soundfile.read(sorted((gtzan_root / genre).glob("*.wav"))[0], dtype="float32")
    whole = librosa.effects.percussive(clip)
    start, length = 512 * 300 - 512, 127 * 512 + 1024
    assert relative(cut(Percussive(), clip, start, length), whole[start : start + length]) < 1e-3


@pytest.mark.parametrize("transform", [TimeStretch(0.8, 0.8), TimeStretch(1.3, 1.3), PitchShift(4.0, 4.0)])
def test_a_segment_neither_fades_in_nor_out(transform: Transform) -> None:
    out = cut(transform, tone(660.0, 3.0), 20000, 20000)
    levels = np.sqrt((out[: 19 * 1024].reshape(-1, 1024) ** 2).mean(1)) / (0.5 / np.sqrt(2))
    np.testing.assert_allclose(levels, 1, atol=0.03)
    assert np.sqrt((out[-1024:] ** 2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


def test_stretch_of_a_segment_keeps_events_in_time() -> None:
    clip = clicks(30000, 1, 60000)
    for rate in (0.8, 1.25):
        out = cut(TimeStretch(rate, rate), clip, 24000, 16000)
        assert abs(energy_centre(out) - 6000 / rate) < 256
    out = cut(PitchShift(4.0, 4.0), clip, 24000, 16000)
    assert abs(energy_centre(out) - 6000) < 256
