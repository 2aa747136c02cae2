"""Tones, constants and impulses through the resampler: its pass band, stop band and images; rate 1; 8 and 16 lanes."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.resample import resample, resample_row
from gtzan_stream.kernels.lane_count import LANES

RATES = [0.5, 0.8, 0.93, 1.0001, 1.07, 1.25, 2.0]


@pytest.fixture(autouse=True, params=["torch", "numba", "numba without lanes"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Compute on each backend; on the CPU both with and without lanes."""
    if request.param.endswith("without lanes"):
        monkeypatch.setattr("gtzan_stream.kernels.lanes.lanes", lambda: 0)
    with force(request.param.partition(" ")[0]):
        yield request.param


def exact(x: torch.Tensor, *arguments, **options) -> torch.Tensor:
    """Compute the reference: plain torch with float64."""
    with force("torch"):
        return resample(x.double(), *arguments, **options)


def response(delay: np.ndarray, rate: float) -> np.ndarray:
    """Compute the documented filter: a sinc of 54 zero crossings a side under a Kaiser window that ends at 0."""
    cutoff = 0.9505 * min(1, 1 / rate)
    crossings = delay * cutoff
    bell = (np.i0(8.6 * np.sqrt(np.maximum(1 - (crossings / 54) ** 2, 0))) - 1) / (np.i0(8.6) - 1)
    return np.where(np.abs(crossings) < 54, cutoff * np.sinc(crossings) * bell, 0)


@pytest.mark.parametrize("rate", [*RATES, 0.2, 1.0, 3.3])
def test_an_impulse_becomes_the_filter(rate):
    x = torch.zeros(1, 901, dtype=torch.float64)
    x[0, 450] = 1
    length = int(900 / rate)
    position = 0.25 + np.arange(length) * rate
    total = response(np.arange(-400, 1300)[:, None] - position, rate).sum(0)
    expected = response(450 - position, rate) / total
    np.testing.assert_allclose(exact(x, rate, length, offset=0.25)[0].numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(resample(x.float(), rate, length, offset=0.25)[0].numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("rate", RATES)
def test_a_constant_stays_constant(rate):
    offsets = 250 + np.arange(33) / 32  # so that all rates have many fractions of a sample
    result = resample(torch.ones(33, 4000), rate, int(3400 / rate), offset=offsets)
    assert (result.double() - 1).abs().max() < 5e-7


def tones(frequencies: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Resample tones of amplitude 1, frequencies as shares of N. Return their gains, and the largest other sample."""
    frequencies = np.asarray(frequencies) / max(1, rate)
    assert (frequencies < 1).all()
    x = np.sin(np.pi * frequencies[:, None] * np.arange(6000) + 0.3)
    length = int(5000 / rate)
    result = resample(torch.from_numpy(x).float(), rate, length, offset=500.25).double().numpy()
    gains, others = [], []
    for frequency, y in zip(frequencies, result, strict=True):
        phase = np.pi * frequency * (500.25 + rate * np.arange(length)) + 0.3
        basis = np.stack([np.sin(phase), np.cos(phase)], 1)
        weights = np.linalg.lstsq(basis, y)[0]
        gains.append(weights[0])
        others.append(np.abs(y - basis @ weights).max())
        assert abs(weights[1]) < 2e-6  # no delay
    return np.array(gains), np.array(others)


@pytest.mark.parametrize("rate", RATES)
def test_the_pass_band_is_flat_and_1_db_down_at_93_percent(rate):
    gains, _ = tones(np.array([0.003, 0.11, 0.37, 0.62, 0.8, 0.9]), rate)
    assert np.abs(20 * np.log10(gains)).max() < 2e-3
    (gain,), _ = tones(np.array([0.93]), rate)
    assert gain >= 10 ** (-1 / 20)


@pytest.mark.parametrize("rate", RATES)
def test_images_are_80_db_down(rate):
    frequencies = np.array([0.05, 0.4, 0.6, 0.8, 0.9, 0.93, 0.96, 0.97, 0.985, 0.993])
    assert tones(frequencies, rate)[1].max() < 1e-4


@pytest.mark.parametrize("rate", [rate for rate in RATES if rate > 1])
def test_frequencies_above_the_new_nyquist_frequency_are_80_db_down(rate):
    shares = np.concatenate([np.linspace(1, 1.1, 21), [1.2, 1.5, 1.9]])
    shares = shares[shares / rate < 1]
    x = np.sin(np.pi * shares[:, None] / rate * np.arange(6000) + 0.3)
    assert resample(torch.from_numpy(x).float(), rate, int(5000 / rate), offset=500).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("time", [0, 1, 7, 3000])
def test_rate_1_and_a_whole_offset_return_the_samples(rng, dtype, time):
    x = torch.from_numpy(rng.standard_normal((9, time))).to(dtype)
    offsets = np.array([0, 3, 2990, 1e6, 1e12, -1, -7, -2000, -1e12])
    expected = torch.zeros(9, 2500, dtype=dtype)
    for row, offset in enumerate(offsets.astype(int)):
        first, last = max(offset, 0), min(offset + 2500, time)
        if first < last:
            expected[row, first - offset : last - offset] = x[row, first:last]
    with force("torch") if dtype == torch.float64 else nullcontext():
        assert torch.equal(resample(x, 1.0, 2500, offset=offsets), expected)


def test_near_rate_1_only_the_highest_frequencies_change(rng):
    spectrum = np.fft.rfft(rng.standard_normal(8000))
    spectrum[3600:] = 0  # 0.9 N
    x = torch.from_numpy(np.fft.irfft(spectrum)).float()[None]
    expected = resample(x, 1.0, 6000, offset=1000)
    for rate, offset in ((1 + 1e-9, 1000), (1.0, 1000 + 1e-6), (1 - 1e-9, 1000)):
        assert (resample(x, rate, 6000, offset=offset) - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("rate", [*RATES, 0.03, 0.2, 3.3, 33.0])
def test_noise_agrees_with_float64(rng, rate):
    x = torch.from_numpy(rng.standard_normal((4, 5000)))
    length = max(min(int(6000 / rate), 6000), 150)
    # Blocks before, at and after both ends of the row; the last row is silent.
    offsets = np.array([0.0, -40.3, 1234.56 - 0.3 * length * rate, -2500.5 - length * rate])
    expected = exact(x, rate, length, offset=offsets)
    errors = (resample(x.float(), rate, length, offset=offsets) - expected).norm(dim=1)
    limit = 2e-6 * max(1, rate / 10)  # distances up to 1,875 samples, in float32
    assert (errors <= limit * expected.norm(dim=1)).all()
    assert list(expected.norm(dim=1) > 0) == [True, True, True, False]


def test_no_sample_is_far_from_float64(rng):
    x = torch.from_numpy(rng.standard_normal((40, 2000)))
    rates, offsets = rng.uniform(0.7, 1.4, 40), rng.uniform(-300, 300, 40)
    difference = resample(x.float(), rates, 2601, offset=offsets) - exact(x, rates, 2601, offset=offsets)
    assert difference.abs().max() < 1e-5


@pytest.mark.parametrize("backend", ["torch"], indirect=True)
def test_gradients_are_those_of_a_linear_function(rng):
    rates, offsets = np.array([0.8, 1.0, 1.0, 1.3]), np.array([-3.3, 5.0, 5.5, 100.0])
    x = torch.from_numpy(rng.standard_normal((4, 500))).requires_grad_()
    weights = torch.from_numpy(rng.standard_normal((4, 600)))
    result = resample(x, rates, 600, offset=offsets)
    (gradient,) = torch.autograd.grad((result * weights).sum(), x)
    assert gradient.isfinite().all()
    torch.testing.assert_close((gradient * x).sum(1), (result * weights).sum(1))
    (single,) = torch.autograd.grad((resample(x.float(), rates, 600, offset=offsets) * weights).sum(), x)
    torch.testing.assert_close(single, gradient, atol=1e-4, rtol=0)


@pytest.mark.parametrize("backend", ["numba"], indirect=True)
@pytest.mark.skipif(not LANES, reason="there are no lanes on this machine, or GTZAN_STREAM_LANES=0")
def test_lanes_are_used_where_there_are_any(monkeypatch, backend):
    monkeypatch.setattr("gtzan_stream.kernels.numba_resample.resample", None)
    resample(torch.ones(1, 100), 1.25, 80)


def digest() -> str:
    """Return a digest of resampled noise: blocks before, at and after the ends of rows, and last blocks of any size."""
    noise, found = np.random.default_rng(0).standard_normal(5000).astype(np.float32), hashlib.sha256()
    for rate in RATES:
        for time, length, offset in ((5000, 6001, -700.3), (5000, 15, 2500.9), (30, 300, -100.1), (5000, 2048, 0.5)):
            out = np.full(length, np.nan, np.float32)
            resample_row(noise[:time], rate, offset, out)
            found.update(out.tobytes())
    return found.hexdigest()


@pytest.mark.slow  # compiles all kernels again
@pytest.mark.parametrize("backend", ["numba"], indirect=True)
@pytest.mark.skipif(not LANES, reason="there are no lanes on this machine, or GTZAN_STREAM_LANES=0")
def test_8_and_16_lanes_give_equal_bits(tmp_path: Path, backend):
    program = "from tests.test_resample_response import digest; print(digest())"
    environment = os.environ | {"GTZAN_STREAM_LANES": {8: "16", 16: "8"}[LANES], "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest()
