"""Log-mel spectrograms of one row, by vectors of frames: numbers, shapes, threads, and where they cannot be used."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from gtzan_stream.dsp.backend import force
from gtzan_stream.features import LogMel
from gtzan_stream.kernels import lanes_mel
from gtzan_stream.kernels.lane_count import LANES
from tests.lanes_digest import digest

ROOT = Path(__file__).parent.parent
F = np.float32
OPTIONS = [
    {},
    {"power": 2.0},
    {"sample_rate": 16_000, "n_fft": 400, "hop_length": 160, "n_mels": 80, "power": 2.0, "compression": "db"},
    {"sample_rate": 16_000, "compression": "db"},
    {"sample_rate": 48_000, "f_max": 20_000.0},
    {"n_fft": 486, "hop_length": 1000, "n_mels": 20},
    {"n_fft": 32, "hop_length": 5, "n_mels": 3},
    {"n_fft": 4096, "hop_length": 1024},
]
needs_lanes = pytest.mark.skipif(not LANES, reason="there are no lanes on this machine, or GTZAN_STREAM_LANES=0")


def pcm(features: LogMel, n_frames: int, extra: int = 0) -> np.ndarray:
    """Return 16-bit samples that become quiet, for so many frames."""
    length = features.geometry.frame_length + (n_frames - 1) * features.geometry.step + extra
    noise = np.random.default_rng(length).standard_normal(length) * np.geomspace(8000, 3, length)
    return np.clip(np.round(noise), -(2**15), 2**15 - 1).astype(np.int16)


def run(features: LogMel, samples: np.ndarray, n_frames: int) -> np.ndarray:
    out = np.full((len(features.starts), n_frames), np.nan, F)
    features.row_kernel()(samples, out)
    return out


@needs_lanes
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_row_equals_the_reference_and_both_kinds_of_samples_give_equal_bits(options):
    features = LogMel(**options)
    n_frames = 3 * LANES + 5
    samples = pcm(features, n_frames, extra=features.geometry.step - 1)
    got = run(features, samples, n_frames)
    floats = samples.astype(F) / F(2**15)
    assert np.array_equal(run(features, floats, n_frames), got)
    with torch.no_grad():
        assert np.array_equal(features(torch.from_numpy(floats)[None])[0].numpy(), got)
        exact = features(torch.from_numpy(floats).double()[None])[0].numpy()
    assert np.linalg.norm(got - exact) < 1e-5 * np.linalg.norm(exact)
    assert np.abs(got - exact).max() < (1e-2 if features.compression == "db" else 1e-4 * exact.max())


@needs_lanes
def test_the_largest_and_smallest_samples(rng):
    features = LogMel()
    samples = np.where(rng.random(features.geometry.read_length) < 0.5, -(2**15), 2**15 - 1).astype(np.int16)
    exact = features(torch.from_numpy(samples / 2.0**15)[None])[0].numpy()
    assert np.abs(run(features, samples, 128) - exact).max() < 1e-5
    assert (run(features, np.zeros_like(samples), 128) == 0).all()


@needs_lanes
@pytest.mark.parametrize("dtype", [np.int16, F])
def test_a_frame_does_not_depend_on_the_number_of_frames(dtype):
    features = LogMel(n_fft=90, hop_length=37, n_mels=8)
    samples = pcm(features, 2 * LANES + 3).astype(dtype)
    whole = run(features, samples, 2 * LANES + 3)
    for n_frames in range(1, 2 * LANES + 3):
        for extra in (0, 36):
            short = samples[: 90 + (n_frames - 1) * 37 + extra]
            assert np.array_equal(run(features, short, n_frames), whole[:, :n_frames]), n_frames


@needs_lanes
@pytest.mark.parametrize("dtype", [np.int16, F])
def test_samples_may_begin_anywhere_and_be_strided_or_read_only(dtype):
    features = LogMel(n_fft=256, hop_length=128, n_mels=20)
    samples = pcm(features, 30).astype(dtype)
    expected = run(features, samples, 30)
    wide = np.zeros((7, 2 * len(samples) + 9), dtype)
    for i in range(7):
        wide[i, i : i + len(samples)] = samples
    rows = [wide[i, i : i + len(samples)] for i in range(7)]
    wide[6, : 2 * len(samples) : 2] = samples
    rows[6] = wide[6, : 2 * len(samples) : 2]
    backward = samples[::-1].copy()[::-1]
    fixed = samples.copy()
    fixed.flags.writeable = False
    before = wide.copy()
    for row in (*rows, backward, fixed):
        assert np.array_equal(run(features, row, 30), expected)
    assert np.array_equal(wide, before)


@needs_lanes
def test_a_row_of_a_larger_output_is_filled_and_nothing_else():
    features = LogMel(n_fft=256, hop_length=128, n_mels=20)
    for n_frames in (1, LANES + 1):
        out = np.full((3, 20, n_frames), 7, F)
        features.row_kernel()(pcm(features, n_frames), out[1])
        assert (out[[0, 2]] == 7).all()
        assert (out[1] != 7).all()


@needs_lanes
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("options", [{}, {"power": 2.0, "compression": "db"}], ids=str)
def test_a_sample_that_is_not_finite_makes_its_frames_nan_and_no_others(bad, options):
    features = LogMel(n_fft=256, hop_length=128, n_mels=20, **options)
    for n_frames in (3, LANES, 3 * LANES - 1):
        samples = pcm(features, n_frames).astype(F)
        expected = run(features, samples, n_frames)
        for at in (0, 300, len(samples) - 1):
            broken = samples.copy()
            broken[at] = bad
            got = run(features, broken, n_frames)
            frames = np.arange(n_frames)
            is_hit = (frames * 128 <= at) & (at < frames * 128 + 256)
            assert np.isnan(got[:, is_hit]).all()
            assert np.array_equal(got[:, ~is_hit], expected[:, ~is_hit])


@needs_lanes
@pytest.mark.parametrize("n_frames", [1, LANES - 1, LANES, 3 * LANES + 1])
def test_nothing_is_written_beyond_the_memory_for_intermediate_results(n_frames):
    features = LogMel(n_fft=90, hop_length=37, n_mels=8)
    size = lanes_mel.scratch_size(90, 8)
    guarded = np.full(size + 4096, 7, F)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gtzan_stream.dsp.mel_rows.borrowed", lambda n, dtype: nullcontext(guarded[:n]))
        got = run(features, pcm(features, n_frames), n_frames)
    assert np.array_equal(got, run(features, pcm(features, n_frames), n_frames))
    assert (guarded[:size] != 7).any()
    assert (guarded[size:] == 7).all()


GUARDED = """
import ctypes, mmap
import numpy as np
from tests.test_lanes_mel import LANES, OPTIONS, LogMel, pcm, run
page, libc = mmap.PAGESIZE, ctypes.CDLL(None, use_errno=True)
for options in OPTIONS[:-1]:
    features = LogMel(**options)
    for n_frames in (1, LANES - 1, LANES, 2 * LANES + 1):
        for dtype in (np.int16, np.float32):
            samples = pcm(features, n_frames).astype(dtype)
            pages = -(-samples.nbytes // page) + 1
            memory = mmap.mmap(-1, pages * page)
            first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            end = (pages - 1) * page
            assert libc.mprotect(ctypes.c_void_p(first + end), page, 0) == 0  # reading here ends the process
            guarded = np.frombuffer(memory, dtype, len(samples), end - samples.nbytes)
            guarded[:] = samples
            assert np.array_equal(run(features, guarded, n_frames), run(features, samples, n_frames))
print("end")
"""


@needs_lanes
@pytest.mark.skipif(sys.platform != "linux", reason="protects memory as Linux does")
def test_nothing_is_read_beyond_the_samples():
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, cwd=ROOT, timeout=250)
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr


@needs_lanes
def test_threads_with_different_settings_do_not_disturb_each_other():
    settings = [LogMel(**options) for options in OPTIONS]
    kernels = [features.row_kernel() for features in settings]
    samples = [pcm(features, 50) for features in settings]
    expected = [run(features, x, 50) for features, x in zip(settings, samples, strict=True)]

    def work(i: int) -> None:
        out = np.empty_like(expected[i % len(settings)])
        for _ in range(5):
            kernels[i % len(settings)](samples[i % len(settings)], out)
            assert np.array_equal(out, expected[i % len(settings)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(56)))


@needs_lanes
def test_wrong_types_and_shapes_are_refused():
    kernel = LogMel(n_fft=256, hop_length=128, n_mels=20).row_kernel()
    samples, out = np.zeros(640, F), np.zeros((20, 4), F)
    for wrong in (np.zeros(640), np.zeros(640, np.uint16), np.zeros(640, ">i2")):
        with pytest.raises(TypeError, match="expected int16 or float32 samples and float32 out, got "):
            kernel(wrong, out)
    with pytest.raises(TypeError, match="got float32 and float64"):
        kernel(samples, out.astype(float))
    for wrong in (out[:, :3], out[:19], np.zeros((4, 20), F).T, np.zeros((20, 8), F)[:, ::2], out[0]):
        with pytest.raises(ValueError, match=r"contiguous out of shape \(20, 4\), got \(640,\) and "):
            kernel(samples, wrong)
    with pytest.raises(ValueError, match=r"got \(2, 640\) and \(20, 4\)"):
        kernel(np.zeros((2, 640), F), out)
    with pytest.raises(ValueError, match=r"shape \(20, 0\)"):
        kernel(np.zeros(255, F), out)
    kernel(np.zeros(255, F), out[:, :0].copy())  # no frame, and nothing is written


class Doubled(LogMel):
    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(waveform)


def test_there_is_no_kernel_where_the_features_would_differ(monkeypatch):
    hooked = LogMel()
    hooked.register_forward_hook(lambda module, arguments, result: 2 * result)
    others = [LogMel(power=1.5), LogMel(n_fft=1022), LogMel(trainable=True), Doubled(), hooked]
    for features in (*others, LogMel().to("meta")):
        assert features.row_kernel() is None
    with force("torch"):
        assert LogMel().row_kernel() is None
    assert (LogMel().row_kernel() is not None) == bool(LANES)
    monkeypatch.setattr("gtzan_stream.kernels.lanes.lanes", lambda: 0)
    assert LogMel().row_kernel() is None


def test_without_lanes_the_features_are_those_of_scipys_fft(monkeypatch):
    features = LogMel()
    waveform = torch.from_numpy(pcm(features, 40) / F(2**15))[None]
    expected = features(waveform)
    monkeypatch.setattr("gtzan_stream.kernels.lanes.lanes", lambda: 0)
    got = features(waveform)
    assert (got - expected).norm() < 1e-6 * expected.norm()
    assert torch.equal(got, expected) == (not LANES)


@needs_lanes
def test_8_and_16_lanes_give_equal_bits():
    environment = os.environ | {"GTZAN_STREAM_LANES": {8: "16", 16: "8"}[LANES]}
    program = [sys.executable, "-m", "tests.lanes_digest"]
    done = subprocess.run(program, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=250)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest()
