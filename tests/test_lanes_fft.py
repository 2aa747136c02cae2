"""Fourier transforms in lanes, compared with numpy in float64."""

from typing import no_type_check

import numba
import numpy as np
import pytest

from gtzan_stream.kernels.lane_count import LANES

if not LANES:
    pytest.skip("there are no lanes on this machine, or GTZAN_STREAM_LANES=0", allow_module_level=True)

from gtzan_stream.kernels.lanes_fft import SMALLEST, fft, plan
from gtzan_stream.kernels.lanes_frames import INT16_SCALE, cut, write_frames
from gtzan_stream.kernels.lanes_rfft import join, split

F = np.float32


def is_fast(n: int) -> bool:
    """Return whether n has no prime factor above 5."""
    return any(2**a * 3**b * 5**c == n for a in range(14) for b in range(9) for c in range(7))


COMPLEX_SIZES = [n for n in range(SMALLEST // 2, 4097) if is_fast(n)]


@numba.njit
@no_type_check
def forward(x, start, hop, last, window, table, buffer, spectrum):
    cut(x, start, hop, last, window, buffer)
    fft(buffer, table)
    split(buffer, table, spectrum)


@numba.njit
@no_type_check
def inverse(spectrum, table, buffer, frames, to, step):
    join(spectrum, table, buffer)
    fft(buffer, table)
    write_frames(buffer, table.places, frames, to, step)


def rfft(x, n_fft, *, start=0, hop=None, last=LANES - 1, window=None):
    """Return the bins [lane, n + 1] of frames of x; by default, of rows of `n_fft` samples."""
    window = np.full(n_fft, 0.5) if window is None else window
    buffer, spectrum = np.full(n_fft * LANES, np.nan, F), np.full((n_fft + 2) * LANES, np.nan, F)
    forward(x, start, n_fft if hop is None else hop, last, window.astype(F), plan(n_fft), buffer, spectrum)
    re, im = spectrum.reshape(-1, 2, LANES).astype(float).transpose(1, 2, 0)
    return re + 1j * im


def irfft(bins, n_fft):
    """Return real signals [lane, n_fft] of bins [lane, n + 1]."""
    spectrum = np.stack([bins.real.T, bins.imag.T], 1).astype(F).reshape(-1)
    frames, step = np.full((LANES, n_fft + 7), np.nan, F), n_fft + 7
    inverse(spectrum, plan(n_fft), np.empty(n_fft * LANES, F), frames.reshape(-1), 3, step)
    assert np.isnan(frames[:, :3]).all()
    assert np.isnan(frames[:, n_fft + 3 :]).all()
    return frames[:, 3 : n_fft + 3]


def relative(got, expected):
    return np.linalg.norm(got - expected, axis=1).max() / np.linalg.norm(expected, axis=1).min()


def noise(n_fft):
    return np.random.default_rng(n_fft).standard_normal((LANES, n_fft)).astype(F)


def test_there_are_sizes():
    assert len(COMPLEX_SIZES) > 100
    radices = {tuple(sorted(set(plan(2 * n).radices))) for n in COMPLEX_SIZES}
    assert {radix for found in radices for radix in found} == {2, 3, 4, 5, 8}
    assert len(radices) > 12


def test_complex_transforms_equal_those_of_numpy():
    for n in COMPLEX_SIZES:
        z = noise(2 * n)[:, :n] + 1j * noise(2 * n)[:, n:]
        buffer = np.stack([z.real.T, z.imag.T], 1).astype(F).reshape(-1)
        fft(buffer, plan(2 * n))
        re, im = buffer.reshape(n, 2, LANES)[plan(2 * n).places].astype(float).transpose(1, 2, 0)
        assert relative(re + 1j * im, np.fft.fft(z)) < 3e-7, n


def test_real_transforms_and_their_inverse_equal_those_of_numpy():
    for n in COMPLEX_SIZES:
        frames = noise(2 * n)
        bins = rfft(frames.reshape(-1), 2 * n)
        assert relative(bins, np.fft.rfft(frames.astype(float))) < 3e-7, n
        assert (bins[:, [0, n]].imag == 0).all()
        assert relative(irfft(bins, 2 * n), frames) < 3e-7, n


def test_the_inverse_ignores_the_imaginary_parts_of_the_first_and_last_bin():
    bins = np.fft.rfft(noise(96).astype(float))
    assert relative(irfft(bins + 1j, 96), np.fft.irfft(bins + 1j)) < 3e-7


@pytest.mark.parametrize("n_fft", [32, 90, 400, 1024])
@pytest.mark.parametrize("hop", [1, 37, 500])
def test_frames_of_int16_and_float32_samples_are_cut_alike(n_fft, hop):
    rng = np.random.default_rng(hop)
    samples = rng.integers(-(2**15), 2**15, 40_000, np.int16)
    samples[:2] = -(2**15), 2**15 - 1
    window = rng.uniform(-1, 1, n_fft)
    for start in (0, 1, 1001):
        for last in (0, 3, LANES - 1):
            lanes = np.minimum(np.arange(LANES), last)
            frames = samples[start + hop * lanes[:, None] + np.arange(n_fft)] / 2.0**15 * window.astype(F)
            got = rfft(samples.astype(F) / F(2**15), n_fft, start=start, hop=hop, last=last, window=window / 2)
            assert relative(got, np.fft.rfft(frames)) < 3e-7
            scaled = window / 2 / 2**15 * INT16_SCALE
            assert np.array_equal(rfft(samples, n_fft, start=start, hop=hop, last=last, window=scaled), got)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_sample_that_is_not_finite_changes_its_own_lane_only(bad):
    frames = noise(360)
    expected = rfft(frames.reshape(-1), 360)
    frames[3, 100] = bad
    with np.errstate(invalid="ignore"):
        got = rfft(frames.reshape(-1), 360)
    assert not np.isfinite(got[3]).any()
    others = np.arange(LANES) != 3
    assert np.array_equal(got[others], expected[others])


@pytest.mark.parametrize("n_fft", [0, 2, 30, 33, 1023, 2 * 7, 2 * 7 * 16, 2 * 11 * 25, 2**16])
def test_other_lengths_have_no_plan(n_fft):
    assert plan(n_fft) is None


def test_a_factor_of_two_never_costs_a_pass_of_its_own_if_it_can_be_avoided():
    assert [plan(2 * n).radices.tolist() for n in (16, 32, 64, 128, 256, 512, 1024)] == [
        [4, 4], [8, 4], [8, 8], [8, 4, 4], [8, 8, 4], [8, 8, 8], [8, 8, 4, 4]
    ]  # fmt: skip
    assert plan(2 * 18).radices.tolist() == [2, 3, 3]


WRONG = {"float64": np.zeros(4096), "uint16": np.zeros(4096, np.uint16), "2d": np.zeros((64, 64), F)}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_frames_of_other_arrays_are_refused_when_a_kernel_is_compiled(wrong):
    with pytest.raises(numba.TypingError):
        rfft(wrong, 64, hop=1)
