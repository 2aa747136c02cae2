"""Time stretch by both methods: tempo, edges, shapes, and what is refused."""

import numpy as np
import pytest
import torch

from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.stretch import METHODS, source, stretch_row, time_stretch
from tests.test_vocoder import music

BACKENDS = ["torch", "numba"]
both_methods = pytest.mark.parametrize("method", METHODS)
both_backends = pytest.mark.parametrize("backend", BACKENDS)


@both_methods
@both_backends
def test_clicks_come_at_the_new_tempo(backend, method):
    clicks = torch.zeros(2, 320_000)
    clicks[:, 10_000::10_000] = 1
    rates = np.array([0.8, 1.6])
    with force(backend):
        result = time_stretch(clicks, rates, 200_000, method=method)
    for row, rate in zip(result, rates, strict=True):
        energy = np.convolve(row.square().numpy(), np.hanning(2000))
        spectrum = np.abs(np.fft.rfft(energy - energy.mean(), 1 << 22))
        assert np.argmax(spectrum) / (1 << 22) == pytest.approx(rate / 10_000, rel=0.01)


@both_methods
@both_backends
@pytest.mark.parametrize("rate", [0.3, 0.5, 0.8, 1.0, 1.1, 1.37, 2.0, 3.0])
def test_samples_beyond_those_that_source_asks_for_change_nothing(backend, method, rate):
    x = torch.from_numpy(music(8.0)).float()
    length, start = 20_000, 60_000
    before, total = source(length, np.array([rate]), method=method)
    first, last = start - int(before[0]), start - int(before[0]) + int(total[0])
    with force(backend):
        cut = time_stretch(x[None, first:last], rate, length, offset=before, method=method)
        wider = time_stretch(x[None, first - 5120 : last + 3000], rate, length, offset=before + 5120, method=method)
    assert cut.abs().max() > 0.05
    torch.testing.assert_close(cut, wider, atol=1e-5, rtol=0)


@both_methods
@pytest.mark.parametrize("rate", [0.3, 0.501, 0.8, 0.93, 1.0, 1.1, 1.37, 3.003])
def test_samples_beyond_those_that_source_asks_for_are_not_read(rng, method, rate):
    """However loud they are: windows are so small at their ends that music would not show it."""
    for length in (1, 640, 1281, 5000):
        before, total = source(length, np.array([rate]), method=method)
        x = torch.from_numpy(rng.standard_normal((2, 2560 + int(total[0]) + 7)).astype(np.float32))
        x[1] = x[0]
        x[1, :2560], x[1, -7:] = 1e6, 1e6  # the vocoder's frames begin at the same places for every multiple of 512
        one, other = time_stretch(x, rate, length, offset=2560.0 + before[0], method=method)
        assert torch.equal(one, other), length


@both_methods
def test_a_row_is_the_same_alone_bit_for_bit(method):
    x = torch.from_numpy(np.stack([music(2.0, seed) for seed in range(3)])).float()
    rates, offsets = np.array([0.7, 1.0, 1.9]), np.array([0.0, 777.0, 3000.5])
    together = time_stretch(x, rates, 40_000, offset=offsets, method=method)
    for row in range(3):
        alone = time_stretch(x[row : row + 1], rates[row], 40_000, offset=offsets[row], method=method)
        assert torch.equal(together[row], alone[0])


@both_methods
@both_backends
@pytest.mark.parametrize(("rate", "offset"), [(1.3, -700.0), (0.7, 300.0), (2.0, -1001.0), (0.9, -0.5), (1.1, -4000.0)])
def test_exactly_the_samples_outside_the_input_are_zero(rng, backend, method, rate, offset):
    x = torch.from_numpy(rng.standard_normal((1, 4000)).astype(np.float32))
    with force(backend):
        sounding = time_stretch(x, rate, 6000, offset=offset, method=method)[0].nonzero().flatten()
    assert sounding[0] == max(0, np.ceil(-offset / rate))
    assert sounding[-1] == min(6000, round((4000 - offset) / rate)) - 1


@both_methods
@both_backends
@pytest.mark.parametrize("time", [0, 1, 300, 512, 2047, 2048])
def test_short_clips(rng, backend, method, time):
    x = torch.from_numpy(rng.standard_normal((2, time)).astype(np.float32))
    with force(backend):
        result = time_stretch(x, np.array([0.5, 2.0]), 3000, method=method)
        assert time_stretch(x, 1.0, 0, method=method).shape == (2, 0)
    assert result.shape == (2, 3000)
    assert result.isfinite().all()
    assert (result[0, 2 * time :] == 0).all()
    if time:
        assert result[0, : 2 * time].abs().max() > 0


@both_methods
@both_backends
def test_shape_and_dtype_are_kept_and_the_input_is_not_modified(rng, backend, method):
    x = torch.from_numpy(rng.standard_normal((3000, 2)).astype(np.float32)).T
    kept = x.clone()
    with force(backend):
        assert time_stretch(x[:0], np.ones(0), 100, method=method).shape == (0, 100)
        strided, dense = (time_stretch(waveform, 1.2, 2500, method=method) for waveform in (x, x.contiguous()))
        assert torch.equal(strided, dense)
    assert time_stretch(x.double(), 1.2, 2500, method=method).dtype == torch.float64
    assert torch.equal(x, kept)


@both_methods
def test_a_row_may_be_read_only(method):
    samples = music(1.0).astype(np.float32)
    expected, out = np.empty(9000, np.float32), np.empty(9000, np.float32)
    stretch_row(samples, 1.2, 100.0, expected, method=method)
    samples.flags.writeable = False
    stretch_row(samples, 1.2, 100.0, out, method=method)
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(ValueError, match="rate: every value must be finite and above zero"):
        time_stretch(torch.zeros(1, 100), rate, 100)


def test_the_number_of_rates_must_fit_the_batch():
    with pytest.raises(ValueError, match=r"rate: expected one value for each of 3 examples, got an array of \(2,\)"):
        time_stretch(torch.zeros(3, 100), np.ones(2), 100)


def test_methods_that_do_not_exist_are_refused():
    message = "method: expected locked or vocoder, got 'rubber'"
    with pytest.raises(ValueError, match=message):
        time_stretch(torch.zeros(1, 100), 1.0, 100, method="rubber")
    with pytest.raises(ValueError, match=message):
        source(100, np.ones(1), method="rubber")


@both_methods
@both_backends
@pytest.mark.parametrize("offset", [-30_000.0, 30_000.0])
def test_output_beside_the_input_is_silent(rng, backend, method, offset):
    x = torch.from_numpy(rng.standard_normal((1, 4000)).astype(np.float32))
    with force(backend):
        assert not time_stretch(x, 1.1, 6000, offset=offset, method=method).any()
