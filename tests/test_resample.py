"""Resampling compared with formulas, soxr and scipy; its edges, shapes and errors."""

import numpy as np
import pytest
import scipy.signal
import soxr
import torch

from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.resample import KAISER_BETA, resample, source
from gtzan_stream.kernels import constants
from tests.conftest import no_synchronisation

BACKENDS = ["torch", "numba"]
RATES = [0.5, 0.83, 1.0, 1.2, 1.9, 2.0]


def tone(frequency: float, time: np.ndarray) -> np.ndarray:
    """Compute a sine of `frequency`, a share of the Nyquist frequency, at `time` in samples."""
    return np.sin(np.pi * frequency * time + 0.3)


def band_limited(rng: np.random.Generator, time: int, band: float) -> np.ndarray:
    """Make noise with nothing above `band`, a share of the Nyquist frequency; silent near its ends."""
    spectrum = np.fft.rfft(rng.standard_normal(time) * np.hanning(time))
    spectrum[int(len(spectrum) * band) :] = 0
    return np.fft.irfft(spectrum, time)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rate", RATES)
def test_tones_in_the_pass_band_are_exact(backend, rate):
    frequencies = np.array([0.003, 0.11, 0.37, 0.62, 0.8, 0.9]) / max(1, rate)
    x = torch.from_numpy(np.stack([tone(f, np.arange(6000)) for f in frequencies])).float()
    length = int(5000 / rate)
    with force(backend):
        result = resample(x, rate, length, offset=500.25).numpy()
    expected = np.stack([tone(f, 500.25 + rate * np.arange(length)) for f in frequencies])
    assert np.abs(result - expected).max() < 5e-5


@pytest.mark.parametrize(("up", "down"), [(1, 2), (2, 3), (4, 5), (3, 2), (2, 1)])
def test_band_limited_noise_equals_soxrs_and_scipys(rng, up, down):
    x = band_limited(rng, 12_000, 0.89 * min(1, up / down))
    rate, length = down / up, 12_000 * up // down
    result = resample(torch.from_numpy(x).float()[None], rate, length)[0].numpy()
    middle = slice(length // 8, -length // 8)
    for reference in (soxr.resample(x, down, up, quality="VHQ"), scipy.signal.resample(x, length)):
        error = result[middle] - reference[:length][middle]
        assert np.linalg.norm(error) / np.linalg.norm(reference[middle]) < 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rate", [*RATES, 0.2, 3.3])
def test_the_output_has_no_edge_effects(rng, backend, rate):
    x = torch.from_numpy(rng.standard_normal((1, 40_000)).astype(np.float32))
    before, total = source(5000, np.array([rate]))
    first, last = 10_000 - int(before[0]), 10_000 - int(before[0]) + int(total[0])
    with force(backend):
        cut = resample(x[:, first:last], rate, 5000, offset=before)
        whole = resample(x, rate, 5000, offset=10_000)
    torch.testing.assert_close(cut, whole, atol=2e-6, rtol=0)


def test_a_row_is_the_same_alone_bit_for_bit(rng):
    x = torch.from_numpy(rng.standard_normal((3, 9000)).astype(np.float32))
    rates, offsets = np.array([0.7, 1.0, 1.9]), np.array([0.0, 3.25, 3000.5])
    together = resample(x, rates, 8001, offset=offsets)
    for row in range(3):
        assert torch.equal(together[row], resample(x[row : row + 1], rates[row], 8001, offset=offsets[row])[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("offset", [None, np.array([5.5, -2000.0, 1e6])])
def test_every_backend_agrees_with_the_oracle(rng, backend, offset):
    x = torch.from_numpy(rng.standard_normal((3, 4000)))
    rates = np.array([0.6, 1.0, 1.7])
    with force(backend):
        result = resample(x.float(), rates, 5000, offset=offset)
    torch.testing.assert_close(result, resample(x, rates, 5000, offset=offset).float(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("time", [0, 1, 20])
def test_short_clips_and_silence(backend, time):
    x = torch.stack([torch.ones(time), torch.zeros(time)])
    with force(backend):
        result = resample(x, np.array([0.5, 2.0]), 300)
    assert (result[1] == 0).all()
    assert (result[0, 2 * time + 123 :] == 0).all()  # h rings for 114 output samples, and u is read 8 samples around
    if time:
        assert abs(result[0, 0] - 1) < 0.6


@pytest.mark.parametrize("backend", BACKENDS)
def test_shape_and_dtype_are_kept_and_the_input_is_not_modified(rng, backend):
    x = torch.from_numpy(rng.standard_normal((3000, 2)).astype(np.float32)).T
    kept = x.clone()
    with force(backend):
        assert resample(x[:0], np.ones(0), 100).shape == (0, 100)
        assert torch.equal(resample(x, 1.2, 2500), resample(x.contiguous(), 1.2, 2500))
    assert resample(x.double(), 1.2, 2500).dtype == torch.float64
    assert torch.equal(x, kept)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(ValueError, match="rate: every value must be finite and above zero"):
        resample(torch.zeros(1, 100), rate, 100)


def test_the_polynomial_of_triton_is_the_window():
    r = np.linspace(0, 1, 10_001)
    window = (np.i0(KAISER_BETA * np.sqrt(r)) - 1) / (np.i0(KAISER_BETA) - 1)
    assert np.abs(r * np.polynomial.Polynomial(constants.KAISER)(r) - window).max() < 1e-7


def test_cuda_equals_float64_without_a_sync(rng, cuda):
    x, rates = torch.from_numpy(rng.standard_normal((3, 40_000))), np.array([0.6, 1.0, 1.8])
    on_gpu = x.float().to(cuda)
    resample(on_gpu, rates, 30_000)  # compiles, and copies the filter
    with no_synchronisation():
        result = resample(on_gpu, rates, 30_000)
    torch.testing.assert_close(result.cpu(), resample(x, rates, 30_000).float(), atol=1e-4, rtol=0)
