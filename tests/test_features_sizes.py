"""Log-mel features at other sample rates and frame lengths, compared with librosa."""

import re
import tracemalloc

import librosa
import numpy as np
import pytest
import torch

from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.mel_bands import bands
from gtzan_stream.features import Frames, LogMel, mel_basis, whole_clips
from gtzan_stream.features.stft_size import _nearest_fast_size, stft_size

SIZES = {
    8_000: (360, 180),
    11_025: (512, 256),
    16_000: (750, 375),
    22_050: (1024, 512),
    32_000: (1500, 750),
    44_100: (2048, 1024),
    48_000: (2250, 1125),
}
RATES = range(8_000, 48_001, 25)


@pytest.mark.parametrize(("sample_rate", "size"), SIZES.items())
def test_frames_have_the_same_duration_at_every_rate(sample_rate, size):
    assert stft_size(sample_rate) == size
    for features in (LogMel(sample_rate=sample_rate), Frames(sample_rate=sample_rate)):
        assert (features.geometry.frame_length, features.geometry.step) == size
        assert features.geometry.sample_rate == sample_rate


@pytest.mark.parametrize("sample_rate", [*RATES[::97], 1_000, 1, 384_000])
def test_the_frame_length_is_the_nearest_fast_fft_size(sample_rate):
    def is_fast(n: int) -> bool:
        for factor in (2, 3, 5):
            while n % factor == 0:
                n //= factor
        return n == 1

    wanted = sample_rate * 1024 / 22_050
    fast = [n for n in range(2, int(2 * wanted) + 4, 2) if is_fast(n)]
    assert stft_size(sample_rate)[0] == min(fast, key=lambda n: (abs(n - wanted), n))


def test_the_shorter_of_two_equally_near_lengths_is_chosen():
    assert [_nearest_fast_size(n, 1) for n in (26, 27, 28)] == [24, 24, 30]


def test_given_sizes_are_kept_and_the_default_hop_is_half_a_frame():
    assert stft_size(8_000, n_fft=256) == (256, 128)
    assert stft_size(8_000, hop_length=50) == (360, 50)
    assert stft_size(8_000, n_fft=400, hop_length=160) == (400, 160)
    assert stft_size(8_000, n_fft=1) == (1, 1)  # a geometry refuses this
    assert LogMel(sample_rate=8_000, hop_length=50).geometry.step == 50
    assert Frames(sample_rate=8_000, n_fft=256).geometry.frame_length == 256


@pytest.mark.parametrize("name", ["torch", "numba"])
@pytest.mark.parametrize(
    ("sample_rate", "options"),
    [
        *((rate, {}) for rate in (8_000, 16_000, 44_100, 48_000)),
        (8_000, {"n_fft": 256}),
        (16_000, {"n_fft": 400, "hop_length": 160, "n_mels": 80}),
        (16_000, {"n_fft": 486, "hop_length": 100, "n_mels": 64, "f_min": 50.0, "f_max": 7_000.0}),
    ],
)
def test_features_equal_those_of_librosa_at_every_rate_and_size(rng, sample_rate, options, name):
    time = np.arange(2 * sample_rate) / sample_rate
    waveform = (0.3 * np.sin(2 * np.pi * 1_500 * time) + 0.1 * rng.standard_normal(len(time))).astype(np.float32)
    features = LogMel(sample_rate=sample_rate, **options)
    geometry = features.geometry
    mel = librosa.feature.melspectrogram(
        y=waveform,
        sr=sample_rate,
        n_fft=geometry.frame_length,
        hop_length=geometry.step,
        n_mels=options.get("n_mels", 128),
        fmin=options.get("f_min", 0.0),
        fmax=options.get("f_max", min(sample_rate / 2, 11_025)),
        power=1.0,
        pad_mode="reflect",
    )
    with force(name):
        got = whole_clips(features, torch.from_numpy(waveform)[None])[0].numpy()
    expected = np.log10(1 + 10 * mel)
    assert got.shape == (options.get("n_mels", 128), geometry.frames_in(len(waveform)))
    assert np.linalg.norm(got - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("sample_rate", RATES[::8])
def test_the_default_frame_is_long_enough_for_every_band(sample_rate):
    n_fft, _ = stft_size(sample_rate)
    basis = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=128, fmax=min(sample_rate / 2, 11_025))
    assert (basis > 0).any(axis=1).all()


@pytest.mark.parametrize(
    ("sample_rate", "options"),
    [(22_050, {"n_fft": 256}), (16_000, {"n_fft": 64}), (8_000, {"n_fft": 200}), (22_050, {"f_max": 1000.0})],
)
def test_a_band_without_a_bin_is_refused_and_the_proposed_sizes_work(sample_rate, options):
    pattern = r"\d+ of 128 mel bands .* choose n_fft = (\d+) or more, or n_mels = (\d+) or fewer"
    with pytest.raises(ValueError, match="no frequency bin") as caught:
        LogMel(sample_rate=sample_rate, **options)
    shortest, most = re.match(pattern, str(caught.value)).groups()
    LogMel(sample_rate=sample_rate, **{**options, "n_fft": int(shortest)})
    LogMel(sample_rate=sample_rate, **options, n_mels=int(most))

    def narrowest(n_mels: int) -> float:
        f_max = options.get("f_max", min(sample_rate / 2, 11_025))
        return np.ptp(librosa.mel_frequencies(n_mels + 2, fmin=0.0, fmax=f_max)[[0, 2]])

    n_fft = options.get("n_fft") or stft_size(sample_rate)[0]  # the proposed sizes are just large enough
    assert sample_rate / int(shortest) < narrowest(128) <= sample_rate / (int(shortest) - 2)
    assert narrowest(int(most) + 1) <= sample_rate / n_fft < narrowest(int(most))


def test_only_sizes_that_work_are_proposed():
    with pytest.raises(ValueError, match=r"choose n_fft = \d+ or more$"):
        LogMel(n_mels=8, f_min=100.0, f_max=101.0)
    with pytest.raises(ValueError, match=r"choose n_mels = 308 or fewer$"):
        LogMel(n_mels=2**14)  # with enough bins, its basis would be too large
    for f_min, f_max in ((100.0, 101.0), (0.0, 1e-300), (0.0, 5e-324), (11_025 * (1 - 2**-52), 11_025.0)):
        with pytest.raises(ValueError, match=r"^128 of 128 mel bands .* choose a wider range of frequencies$"):
            LogMel(f_min=f_min, f_max=f_max)


def test_a_basis_or_kernels_too_large_for_memory_are_refused_before_they_are_built():
    message = r"a mel basis of n_mels = 32 at n_fft = 1048576 would have 16,777,248 numbers, and at most 16,777,216"
    with pytest.raises(ValueError, match=message):
        LogMel(n_fft=2**20, n_mels=32)
    with pytest.raises(ValueError, match=r"trainable kernels at n_fft = 5792 would have 16,779,424 numbers"):
        LogMel(n_fft=5792, trainable=True)
    assert mel_basis.MAX_NUMBERS == 16_777_216


def test_long_frames_take_no_memory_for_kernels():
    tracemalloc.start()
    try:
        LogMel(n_fft=2**15)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**26  # the kernels of nnAudio would take 2**31 numbers


@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "n_mels", "f_max"), [(22_050, 1024, 128, 11_025), (8_000, 486, 40, 3_800)]
)
def test_window_and_basis_are_those_of_nnaudio(sample_rate, n_fft, n_mels, f_max):
    features = LogMel(sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, f_max=f_max, trainable=True)
    assert torch.equal(features.window, features.convolution.stft.window_mask.flatten())
    for name, expected in bands(features.convolution.mel_basis.detach())._asdict().items():
        assert torch.equal(features.get_buffer(name), expected)


def test_bands_of_a_basis_need_a_bin():
    with pytest.raises(ValueError, match=r"mel bands \[1\] hold no frequency bin"):
        bands(torch.tensor([[0.5, 1.0], [0.0, 0.0]]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("compression", ["log10", "db"])
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_a_sample_that_is_not_finite_makes_its_frames_nan_and_no_others(backend, power, compression, bad):
    features = LogMel(n_fft=256, hop_length=128, n_mels=20, power=power, compression=compression)
    waveform = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 700)).astype(np.float32))
    with force(backend):
        expected = features(waveform)
        waveform[0, 300] = bad
        got = features(waveform)
    assert got[:, :, 1:3].isnan().all()
    assert torch.equal(got[:, :, [0, 3]], expected[:, :, [0, 3]])
