"""Kernels for CUDA give the numbers of the torch version, without a GPU: in Triton's interpreter.

The programs run in one process of their own, because `TRITON_INTERPRET` must be set before Triton is imported, and the
interpreter is slow: they are as small as possible.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import need

PROGRAMS = {
    "stretch": """
import numpy as np, torch
from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.stretch import time_stretch
from gtzan_stream.kernels import triton_locked
triton_locked.LANES = 512  # for speed; 1,025 bins end in an incomplete tile
x = torch.randn(4, 4000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
x[:, 1500:] *= 0.01
x[2, 1000:] = 0
rates, offsets = np.array([1.3, 0.8, 1.0, 2.0]), np.array([700.0, 100.0, -300.0, 0.0])
with force("triton"):
    result = time_stretch(x.float(), rates, 2500, offset=offsets)
    bad = time_stretch(x.float().index_fill(1, torch.tensor([3990]), torch.nan), rates, 2500, offset=offsets)
error = (result - time_stretch(x, rates, 2500, offset=offsets)).abs().max()
assert error < 1e-4, error
assert torch.equal(bad[:, :800], result[:, :800]) and bad[3].isnan().any()
""",
    "vocoder": """
import numpy as np, torch
from gtzan_stream.dsp.backend import force
from functools import partial
from gtzan_stream.dsp.stretch import time_stretch
from gtzan_stream.kernels import triton_vocoder
time_stretch = partial(time_stretch, method="vocoder")
triton_vocoder.FRAMES = 2  # several tiles, so that the running product is carried over
triton_vocoder.LANES = 512  # for speed; 1,025 bins end in an incomplete tile
x = torch.randn(4, 2000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
x[2, 1000:] = 0
rates, offsets = np.array([3.2, 4.0, 1.6, 0.3]), np.array([0.0, 100.0, -300.0, 700.0])  # ends, and starts, inside
with force("triton"):
    result = time_stretch(x.float(), rates, 600, offset=offsets)
error = (result - time_stretch(x, rates, 600, offset=offsets)).abs().max()
assert error < 1e-4, error
triton_vocoder.LANES = 32
turning = torch.polar(torch.ones(2, 4), 6.28 * torch.rand(2, 4, generator=torch.Generator().manual_seed(0)))
def vocode(spectrogram, position):
    out = torch.empty(*position.shape, spectrogram.shape[2], dtype=torch.complex64)
    triton_vocoder.vocode(spectrogram, position, out)
    return out
level = vocode(turning[None], torch.zeros(1, 200, dtype=torch.float64)).abs()
assert (level - 1).abs().max() < 1e-5, level  # rounding does not add up
fading = torch.polar(torch.tensor([1, 1e-20, 1, 1]), torch.tensor([0.3, 2.0, -1.0, -1.0]))[None, :, None]
last = vocode(fading, torch.tensor([[0.0, 2.0]], dtype=torch.float64))[0, 1, 0]
assert (last - 1).abs() < 1e-6, last  # the phase of silence counts as 0
""",
    "features": """
import torch
from gtzan_stream.dsp.backend import force
from gtzan_stream.features import LogMel
from gtzan_stream.kernels import triton_mel
triton_mel.FRAMES, triton_mel.BANDS, triton_mel.BINS = 2, 8, 16  # several tiles of each, the last ones incomplete
torch.manual_seed(0)
x = torch.randn(2, 384) * torch.tensor([[1.0], [1e-8]])
for options in ({}, {"power": 2.0, "compression": "db"}, {"power": 1.5}):
    features = LogMel(n_fft=128, hop_length=64, n_mels=20, **options)
    with force("triton"):
        got = features(x)
        bad = features(x.index_fill(1, torch.tensor([150]), torch.nan))
    assert bad.isnan().all(1).tolist() == bad.isnan().any(1).tolist() == [[False, True, True, False, False]] * 2
    exact = features(x.double())
    for i in range(2):
        error = (got[i] - exact[i]).norm() / exact[i].norm()
        assert error < 1e-5, (options, i, error)
    with force("triton"):
        assert torch.equal(features(x.T.contiguous().T), got)  # a waveform that is not contiguous
""",
    "frames": """
import torch
from gtzan_stream.kernels import triton_frames
triton_frames.TILE = 32  # several tiles of frames and of samples
for shape, n_fft, hop, padding in (((3, 50), 16, 4, 0), ((2, 41), 12, 5, 6), ((1, 3000), 1500, 700, 0)):
    x, window = torch.randint(-32768, 32768, (shape[0], shape[1] + 7), dtype=torch.int16)[:, :-7], torch.rand(n_fft)
    expected = torch.nn.functional.pad(x / 32768, (padding, padding)).unfold(1, n_fft, hop) * window
    for waveform, factor in ((x / 32768, 1), (x, 32768), ((x / 32768).T.contiguous().T, 1)):
        out = torch.full(expected.shape, torch.nan)
        triton_frames.cut(waveform, window / factor, hop, padding, out)
        assert torch.equal(out, expected), (shape, factor)
for time, n_fft, n_frames in ((50, 16, 7), (3000, 1500, 3)):
    x, window = torch.rand(2, time), torch.rand(n_fft)
    starts = torch.tensor([[-n_fft - 3, -5, time - 3, 7, time - n_fft, 0, time + 4], [9, 1, 2, 3, 4, 5, 6]])
    starts = starts[:, :n_frames]
    expected = torch.nn.functional.pad(x, (2 * n_fft,) * 2).unfold(1, n_fft, 1)
    expected = torch.stack([row[at + 2 * n_fft] for row, at in zip(expected, starts)]) * window
    for waveform in (x, x.T.contiguous().T):
        out = torch.full(expected.shape, torch.nan)
        triton_frames.cut_at(waveform, window, starts, out)
        assert torch.equal(out, expected), time
""",
    "rows": """
import numpy as np, torch
from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.rows import roll, zero_after
from gtzan_stream.kernels import triton_rows
triton_rows.LANES = 64
for n, time in ((1, 300), (4, 300), (4, 64)):
    x = torch.randn(n, time + 9)[:, :-9]
    shift, length = np.array([1, 0, -1700, 299])[-n:], np.array([20, 300, 151, 64])[-n:]
    for rows in (x, x.T.contiguous().T):
        with force("torch"):
            rolled, cleared = roll(rows, shift), zero_after(rows, length)
        with force("triton"):
            before = rows.clone()
            assert torch.equal(roll(rows, shift), rolled)
            assert torch.equal(zero_after(rows, length), cleared)
            assert torch.equal(rows, before)
            whole = torch.ones(n, time + 9)
            whole[:, :time] = rows
            assert torch.equal(zero_after(whole[:, :time], length, overwrite=True), cleared)
            assert (whole[:, time:] == 1).all()
""",
    "hpss": """
import torch
from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.hpss import percussive
torch.manual_seed(0)
x = torch.randn(2, 200)
x[1, 100:] = 0
x[1] *= 1e-6
for options in ({}, {"power": 1.5, "margin": 2.0}):
    with force("triton"):
        got = percussive(x, n_fft=64, kernel_size=5, **options)
    exact = percussive(x.double(), n_fft=64, kernel_size=5, **options)
    for row in range(2):
        error = (got[row] - exact[row]).norm() / exact[row].norm()
        assert error < 1e-5, (options, row, error)
y = torch.zeros(1, 61)
y[0, 30], y[0, 32] = 0.5, -0.5  # one bin sounds in one frame: both of its medians are 0
with force("triton"):
    got = percussive(y, n_fft=4)
with force("torch"):  # in float64 the medians are not quite 0
    assert (got - percussive(y, n_fft=4)).abs().max() < 1e-6
""",
    "median": """
import torch
from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.median import median_filter
from gtzan_stream.kernels import triton_median
triton_median.RUN = 4  # several runs, and few repeated values
torch.manual_seed(0)
cases = [((1, 70, 9), 31, 1), ((1, 5, 9), 31, 2), ((2, 3, 66), 3, 1), ((1, 15, 2), 31, 1), ((2, 4, 3), 1, 2)]
for shape, size, axis in [*cases, ((1, 7, 3), 65, 1), ((1, 66, 2), 65, 2)]:  # 65: too large for a network
    layouts = torch.randn(shape), torch.randn(shape).transpose(1, 2).contiguous().transpose(1, 2)
    for x in layouts if size < 65 else layouts[:1]:  # both are made contiguous before any kernel
        with force("torch"):
            plain = median_filter(x, size, axis)
        with force("triton"):
            assert torch.equal(median_filter(x, size, axis), plain), (shape, size, axis)
x = torch.randn(1, 50, 2)
x[0, 20, 1] = torch.nan
with force("triton"):
    got, without = median_filter(x, 5, 1), median_filter(x.nan_to_num(), 5, 1)
got[0, 18:23, 1] = without[0, 18:23, 1] = 0
assert torch.equal(got, without)  # a NaN changes only medians of windows that contain it
""",
    "resample": """
import numpy as np, torch
from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.resample import resample
from gtzan_stream.kernels import triton_resample
triton_resample.LANES = 64  # programs before, at, between and after the ends of rows, which begin at any multiple of 4
x = torch.randn(5, 701, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
# Positions far away, on samples and between them; rows end where the next one begins.
rates, offsets = np.array([1.25, 1.0, 0.83, 3.1, 1.0]), np.array([0.37, -30.0, 62.25, 0.5, 7.3])
torch.use_deterministic_algorithms(True)  # what is not computed is NaN
with force("triton"):
    result = resample(x.float(), rates, 800, offset=offsets)
    constant = resample(torch.ones(3, 900), np.array([0.5, 1.07, 2.0]), 300, offset=np.array([130.3, 150.3, 150.7]))
exact = resample(x, rates, 800, offset=offsets)
torch.use_deterministic_algorithms(False)
errors = (result - exact).norm(dim=1) / exact.norm(dim=1)
assert errors.max() < 1.5e-6, errors
assert torch.equal(result[1], exact[1].float())  # rate 1 and a whole offset
assert (constant.double() - 1).abs().max() < 1e-6
""",
    "random": """
import numpy as np, torch
from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.random import hash_keys, normal
keys, crops = np.array([2**64 - 1, 5], np.uint64), np.array([2**32 - 1, 0])
for rng in (1, 2**64 - 3):
    with force("triton"):
        noise = normal(rng, keys, crops, 2500, std=np.array([0.25, 3]))
    exact = normal(rng, keys, crops, 2500, std=np.array([0.25, 3]), dtype=torch.float64)
    assert (noise - exact).abs().max() < 1e-5, (noise - exact).abs().max()
smallest = hash_keys(["a", "a"]), np.array([13_222_856, 11_655_894]), 1024  # words below 256, the logarithm's limit
with force("triton"):
    noise = normal(3, *smallest)
assert (noise - normal(3, *smallest, dtype=torch.float64)).abs().max() < 1e-5
""",
}
RUN = """
import json, sys, traceback
errors = {}
for name, program in json.loads(sys.argv[1]).items():
    try:
        exec(program, {})
        errors[name] = ""
    except Exception:
        errors[name] = traceback.format_exc()
print(json.dumps(errors))
"""


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    """The error of each program; empty if there is none."""
    need("triton")
    command = [sys.executable, "-c", RUN, json.dumps(PROGRAMS)]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}  # threads cost more than they save
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=250, env=environment)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_kernel_in_tritons_interpreter_equals_the_torch_version(name: str, errors: dict[str, str]):
    assert errors[name] == ""
