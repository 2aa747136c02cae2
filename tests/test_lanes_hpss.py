"""The percussive part in lanes, compared with float64, with the kernels without lanes, and between 8 and 16 lanes."""

import hashlib
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from gtzan_stream.augment.percussive import MARGIN
from gtzan_stream.dsp.hpss import percussive, percussive_row
from gtzan_stream.dsp.scratch import borrowed
from gtzan_stream.kernels import lanes as lanes_module
from gtzan_stream.kernels.lane_count import LANES
from tests.test_hpss import music

if not LANES:
    pytest.skip("there are no lanes on this machine, or GTZAN_STREAM_LANES=0", allow_module_level=True)

from gtzan_stream.kernels import lanes_hpss
from gtzan_stream.kernels.lanes_median import LARGEST

F = np.float32
REACH = 2048 + 15 * 512
"""Samples from which an output sample depends on the input, on each side."""
SETTINGS = [
    {},
    {"margin": 2.5},
    {"margin": 1e30},
    {"n_fft": 1024, "kernel_size": 17},
    {"n_fft": 400, "kernel_size": 9, "margin": 3.0},
    {"n_fft": 96, "kernel_size": 3},
    {"n_fft": 64, "kernel_size": 1},
]
LENGTHS = [0, 1, 100, 511, 512, 2000, 512 * 7, 512 * 8, 512 * 15, 512 * 16, 40_001]


def row(samples: np.ndarray, before: int = 0, length: int | None = None, **options) -> np.ndarray:
    """Return samples of the percussive part, with scratch memory and output full of NaN before."""
    size = lanes_hpss.scratch_size(len(samples), options.get("n_fft", 2048), options.get("kernel_size", 31))
    with borrowed(size, np.float32) as memory:
        memory[:] = np.nan
    out = np.full(len(samples) - before if length is None else length, np.nan, F)
    percussive_row(samples, out, before=before, **options)
    return out


def error(got: np.ndarray, samples: np.ndarray, **options) -> float:
    """Return the root-mean-square error relative to that of the samples, compared with float64."""
    exact = percussive(torch.from_numpy(samples.astype(float))[None], **options)[0].numpy()
    return float(np.linalg.norm(got - exact) / np.linalg.norm(samples.astype(float)))


def without_lanes(monkeypatch, samples: np.ndarray, before: int = 0, length: int | None = None, **options):
    with monkeypatch.context() as patch:
        patch.setattr(lanes_module, "lanes", lambda: 0)
        patch.setattr(lanes_hpss, "percussive", None)
        out = np.empty(len(samples) if length is None else length, F)
        percussive_row(samples, out, before=before, **options)
        return out


@pytest.mark.parametrize("options", SETTINGS)
def test_rows_of_all_lengths_are_as_exact_as_without_lanes(monkeypatch, options):
    for n in LENGTHS:
        samples = music(n)
        got = row(samples, **options)
        assert got.shape == (n,)
        if n:
            assert error(got, samples, **options) < 1e-6, n
            assert (
                error(got, samples, **options)
                < 1.5 * error(without_lanes(monkeypatch, samples, **options), samples, **options) + 1e-8
            )


@pytest.mark.parametrize("options", SETTINGS[:5])
def test_a_piece_equals_that_piece_of_the_whole_row_bit_for_bit(monkeypatch, options):
    samples = music(40_001)
    whole, plain = row(samples, **options), without_lanes(monkeypatch, samples, **options)
    for before, length in [
        (0, 40_001),
        (0, 1),
        (40_000, 1),
        (MARGIN, 20_000),
        (12_345, 678),
        (8192, 8192),
        (16_383, 2),
    ]:
        assert np.array_equal(row(samples, before, length, **options), whole[before : before + length])
        piece = without_lanes(monkeypatch, samples, before, length, **options)
        assert np.array_equal(piece, plain[before : before + length])


def test_a_piece_takes_less_work(monkeypatch):
    """Frames that no output sample needs are not transformed back: their samples stay 0 in the scratch memory."""
    samples = music(80_000)
    size = lanes_hpss.scratch_size(len(samples), 2048, 31)
    row(samples, 40_960, 1000)
    with borrowed(size, np.float32) as memory:
        waveform = memory[: len(samples) + 2048]
        assert (waveform[: 40_960 - 512 * LANES] == 0).all()
        assert (waveform[40_960 + 3000 + 512 * LANES :] == 0).all()
        assert waveform[40_960:43_000].all()


@pytest.mark.parametrize("options", SETTINGS)
def test_nothing_is_written_outside_scratch_memory_and_output(monkeypatch, options):
    for n in LENGTHS:
        size = lanes_hpss.scratch_size(n, options.get("n_fft", 2048), options.get("kernel_size", 31))
        memory, around = np.full(size + 4096, 7, F), np.full(n + 200, 7, F)
        monkeypatch.setattr("gtzan_stream.dsp.hpss.borrowed", lambda n, dtype, memory=memory: nullcontext(memory[:n]))
        percussive_row(music(n), around[100 : n + 100], **options)
        assert (memory[size:] == 7).all()
        assert (around[[*range(100), *range(n + 100, n + 200)]] == 7).all()
        assert (around[100 : n + 100] != 7).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_sample_that_is_not_finite_does_not_change_samples_far_away(bad):
    samples = music(60_000)
    expected = row(samples)
    samples[30_000] = bad
    got = row(samples)
    far = abs(np.arange(60_000) - 30_000) > REACH
    assert np.isnan(got[30_000])
    assert np.array_equal(got[far], expected[far])
    finite = abs(np.arange(60_000) - 30_000) > 2048  # frames that do not read the sample
    assert np.isfinite(got[finite]).all()


def test_read_only_and_strided_samples_are_accepted_and_not_changed():
    samples = music(9000)
    expected = row(samples)
    strided = np.repeat(samples, 2)[::2]
    strided.flags.writeable = False
    assert np.array_equal(row(strided), expected)
    assert np.array_equal(strided, music(9000))


@pytest.mark.parametrize(
    "options",
    [{"power": 1.0}, {"kernel_size": LARGEST + 2}, {"n_fft": 32}, {"n_fft": 72}, {"n_fft": 112}, {"n_fft": 4}],
)
def test_other_settings_use_the_kernels_without_lanes(monkeypatch, options):
    samples = music(3000)
    assert np.array_equal(row(samples, **options), without_lanes(monkeypatch, samples, **options))
    assert error(row(samples, **options), samples, **options) < 1e-6


def test_settings_with_lanes_use_them(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("the kernel without lanes is used")

    monkeypatch.setattr("gtzan_stream.dsp.hpss._percussive_row", refuse)
    for options in SETTINGS:
        row(music(3000), **options)
        percussive(torch.from_numpy(music(3000))[None], **options)


def digest() -> str:
    """Return a digest of the results in all settings."""
    found = hashlib.sha256()
    for options in SETTINGS:
        for n in LENGTHS:
            found.update(row(music(n), **options).tobytes())
    for before in (0, 777, 8192):
        found.update(row(music(40_001), before, 12_345).tobytes())
    return found.hexdigest()


@pytest.mark.slow  # compiles all kernels again
def test_8_and_16_lanes_give_equal_bits(tmp_path: Path):
    program = "from tests.test_lanes_hpss import digest; print(digest())"
    environment = os.environ | {"GTZAN_STREAM_LANES": {8: "16", 16: "8"}[LANES], "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest()
