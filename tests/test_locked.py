"""The phase-locked vocoder compared with its formulas in float64, frame by frame, and its backends with each other."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gtzan_stream.dsp import locked
from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.stretch import source, time_stretch
from gtzan_stream.kernels import lanes as lanes_module
from gtzan_stream.kernels.lane_count import LANES
from tests.conftest import no_synchronisation
from tests.test_vocoder import music

BACKENDS = ["torch", "numba"]
N, HOP = 2048, 640


def frame_by_frame(x: np.ndarray, rate: float, length: int, offset: float = 0.0) -> np.ndarray:
    """Stretch float64 samples by the documented formulas, with nothing shared with the package."""
    bins, window = np.arange(N // 2 + 1), 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N) / N)
    place = np.log(np.maximum(bins, 1) * 22050 / N / 300) / np.log(10)
    half = np.rint(1 + 7 * np.clip(place, 0, 1))
    triangles = np.maximum(half[:, None] + 1 - np.abs(bins[:, None] - bins), 0)
    padded = np.pad(x, 6 * N)
    output, weight = np.zeros(length + 4 * N), np.zeros(length + 4 * N)

    def spectrum(centre: int) -> np.ndarray:
        first = np.clip(centre - N // 2, -5 * N, len(x) + 4 * N) + 6 * N
        # The phase is that at the frame's centre.
        return np.fft.rfft(np.roll(padded[first : first + N] * window, N // 2))

    before = None
    for u in range(-1, (length + N // 2 - 2) // HOP + 1):
        centre = round(offset + u * HOP * rate)
        if centre < 0:
            continue
        now, past = spectrum(centre), spectrum(centre - HOP)
        power = np.abs(now) ** 2
        rise = np.maximum(power - 3 * np.abs(past) ** 2, 0)
        share = np.divide(rise, power, out=np.zeros_like(power), where=power > 0)
        slope = np.sum(share[1:] * now[1:] * now[:-1].conj())
        delay = -np.angle(slope) * N / (2 * np.pi) if abs(slope) > 1e-24 else 0.0
        shift = (centre - offset + delay) / rate - u * HOP - delay
        kept = 0 if before is None else before * past.conj()
        rotation = kept + 0.75 * rise * np.exp(-2j * np.pi * bins * shift / N)
        total = triangles @ rotation
        size = np.abs(total)
        least = triangles @ np.abs(rotation) / 5
        unit = np.where(size > 1e-16, total / np.maximum(np.maximum(size, least), 1e-16), 1)
        turned = now if before is None else now * unit
        place = slice(2 * N + u * HOP - N // 2, 2 * N + u * HOP + N // 2)
        output[place] += np.roll(np.fft.irfft(turned), -N // 2) * window
        weight[place] += window**2
        before = turned
    times = offset + np.arange(length) * rate
    inside = (times >= 0) & (np.arange(length) < np.rint((len(x) - offset) / rate))
    kept = slice(2 * N, 2 * N + length)
    return np.where(inside, output[kept] / np.maximum(weight[kept], 1e-30), 0)


def error_db(result: torch.Tensor, reference: np.ndarray) -> float:
    difference = np.linalg.norm(result.double().numpy() - reference)
    return 20 * np.log10(max(difference / np.linalg.norm(reference), 1e-16))


@pytest.mark.parametrize(
    ("rate", "offset"), [(0.5, 0.0), (0.8, 5000.0), (0.9, 0.0), (1.1, 3000.25), (1.25, -700.0), (2.0, 0.0)]
)
def test_every_backend_computes_the_documented_formulas(rate, offset):
    x = music(3.0)
    length = int(66_150 / rate) + 100
    expected = frame_by_frame(x, rate, length, offset)
    batch = torch.from_numpy(np.stack([x, x[::-1]]))
    assert error_db(time_stretch(batch, rate, length, offset=offset)[0], expected) < -200
    for backend in BACKENDS:
        with force(backend):
            result = time_stretch(batch.float(), np.array([rate, 1.3]), length, offset=offset)
        assert error_db(result[0], expected) < (-100 if rate > 0.7 else -80), backend


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_with_and_without_samples_before_them_do_not_depend_on_each_other(backend):
    x = torch.randn(3, 40_000, generator=torch.Generator().manual_seed(0))
    with force(backend):
        together = time_stretch(x, np.array([0.9, 1.2, 0.8]), 30_000, offset=np.array([0.0, 3000.0, -2000.0]))
        for row, rate, offset in ((0, 0.9, 0.0), (1, 1.2, 3000.0), (2, 0.8, -2000.0)):
            alone = time_stretch(x[row : row + 1], rate, 30_000, offset=offset)[0]
            assert error_db(together[row], alone.double().numpy()) < -100


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("offset", [0.0, 0.25])
def test_a_clip_that_is_loud_from_its_first_sample_on(backend, offset):
    """Without an offset, the first frame is copied, and nothing before it is read."""
    x = music(2.0)[12_000:]
    assert x[:64].std() > 0.05
    with force(backend):
        result = time_stretch(torch.from_numpy(x).float()[None], 0.8, 50_000, offset=offset)[0]
    assert error_db(result[:2000], frame_by_frame(x, 0.8, 50_000, offset)[:2000]) < -90


def test_an_overflow_does_not_reach_later_frames():
    x = torch.from_numpy(music(3.0)).float()[None]
    usual = time_stretch(x, 0.9, 70_000)[0]
    x[0, 20_000] = 1e25
    result = time_stretch(x, 0.9, 70_000)[0]
    late = [torch.fft.rfft(y[45_000:]) for y in (result, usual)]
    assert (late[0] - late[1]).norm() < 1e-4 * late[1].norm()
    assert (late[0] - late[1])[-200:].norm() < 1e-2 * late[1][-200:].norm()  # the last bins, too


@pytest.mark.parametrize("backend", BACKENDS)
def test_rate_1_returns_the_input(backend):
    x = torch.from_numpy(music(2.0)).float()[None]
    with force(backend):
        assert error_db(time_stretch(x, 1.0, x.shape[1]), x.double().numpy()) < -130
        assert error_db(time_stretch(x, 1.0, 20_000, offset=5000.0), x[:, 5000:25_000].double().numpy()) < -130


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_frame_after_silence_is_copied(backend):
    """Nothing was heard before, so no phase is to be continued: neither NaN nor silence may come of it."""
    x = torch.zeros(1, 30_000)
    x[0, 14_000:] = torch.from_numpy(music(2.0, 3)[-16_000:]).float()
    x[0, 20_000:23_000] *= 1e-12
    with force(backend):
        result = time_stretch(x, 0.9, 33_000)
    assert result.isfinite().all()
    assert result[0, 16_000:22_000].std() > 0.7 * x[0, 14_400:19_800].std()
    assert result[0, 27_000:32_000].std() > 0.7 * x[0, 24_300:28_800].std()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sample_that_is_not_finite_spoils_only_the_frames_around_it(backend):
    x = torch.from_numpy(np.stack([music(2.0)] * 3)).float()
    x[1, 20_000], x[2, 20_000] = torch.nan, torch.inf
    with force(backend):
        result = time_stretch(x, 1.1, 36_000)
    place = round(20_000 / 1.1)
    assert result[0].isfinite().all()
    assert result[1:, : place - N].isfinite().all()
    assert not result[1:, place - HOP : place + HOP].isfinite().any()
    assert result[1:, place + 2 * N :].isfinite().all()
    assert (result[1:, place + 2 * N :].std(1) > 0.7 * result[0, place + 2 * N :].std()).all()


@pytest.mark.parametrize("factor", [1e-6, 32_768.0])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_result_is_proportional_to_the_level(backend, factor):
    x = torch.from_numpy(music(2.0)).float()[None]
    with force(backend):
        quiet, usual = time_stretch(x * factor, 1.1, 38_000), time_stretch(x, 1.1, 38_000)
    assert error_db(quiet / factor, usual.double().numpy()) < -60


def test_gradients_are_those_of_the_formulas_and_finite_in_silence():
    x = torch.zeros(2, 6000, dtype=torch.float64)
    x[0] = torch.from_numpy(music(1.0, 1)[8000:14_000])
    x.requires_grad_()
    rates = np.array([0.9, 1.2])
    out = time_stretch(x, rates, 4000, offset=1000.0)
    probe = torch.randn(4000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (out[0] @ probe + out[1].square().sum()).backward()
    assert x.grad.isfinite().all()
    step = torch.zeros_like(x)
    step[0] = 1e-9 * torch.randn(6000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ahead, behind = (time_stretch(x + s, rates, 4000, offset=1000.0)[0] @ probe for s in (step, -step))
    assert ((ahead - behind) / 2).item() == pytest.approx((x.grad * step).sum().item(), rel=1e-3)


def test_source_asks_for_no_more_than_is_read():
    """If the first or the last sample asked for was not read, `source` would ask for too much."""
    for rate in (0.8, 1.0, 1.3):
        before, total = source(5000, np.array([rate]))
        x = torch.from_numpy(music(3.0)[20_000:]).double()[None, : int(total[0])]
        usual = time_stretch(x, rate, 5000, offset=before)
        for place in (slice(2, 9), slice(-700, -640)):
            changed = x.clone()
            changed[0, place] += 1.0
            assert not torch.equal(time_stretch(changed, rate, 5000, offset=before), usual), (rate, place)


def digest() -> str:
    """Return a digest of stretched music, to compare the bits of 8 and 16 lanes in two processes."""
    found = hashlib.sha256()
    x = torch.from_numpy(music(2.0)).float()[None]
    for rate, length, offset in ((0.8, 3000, 500.0), (1.1, 20_000, 0.0), (1.4, 9000, 8000.0)):
        found.update(time_stretch(x, rate, length, offset=offset).numpy().tobytes())
    return found.hexdigest()


@pytest.mark.skipif(not LANES, reason="there are no lanes on this machine")
def test_8_and_16_lanes_give_equal_bits():
    program = "from tests.test_locked import digest; print(digest())"
    environment = {"GTZAN_STREAM_LANES": {8: "16", 16: "8"}[LANES], "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == digest()


@pytest.mark.skipif(not LANES, reason="there are no lanes on this machine")
@pytest.mark.parametrize(("rate", "offset"), [(1.1, 0.0), (1.1, -400_000.0), (1.1, 400_000.0), (20.0, 0.0)])
def test_a_row_uses_no_memory_but_its_own(rng, rate, offset):
    """Kernels in lanes do not check positions: what they read around their memory would make the result NaN."""
    from gtzan_stream.kernels import lanes_locked

    x, out = rng.standard_normal(2000).astype(np.float32), np.empty(3000, np.float32)
    (centre,), (late,) = locked._frames(np.array([rate]), np.array([offset]), len(out))
    n, margin = lanes_locked.scratch_size(len(x), len(centre), N, HOP), 500_000
    around = np.full(margin + n + margin, np.nan, np.float32)
    memory = around[margin : margin + n]
    lanes_locked.stretch(x, centre, HOP, -1, late, 1 / rate - 1, locked._tables(), locked.LIMITS, memory, out)
    assert np.isfinite(out).all()
    assert (abs(out).max() > 0) == (offset == 0)
    assert np.isnan(around[:margin]).all()
    assert np.isnan(around[margin + n :]).all()


def test_without_lanes_rows_are_stretched_in_torch(monkeypatch):
    x = torch.from_numpy(music(1.0)).float()[None]
    with force("torch"):
        expected = time_stretch(x, 1.2, 15_000)
    monkeypatch.setattr(lanes_module, "lanes", lambda: 0)
    assert torch.equal(time_stretch(x, 1.2, 15_000), expected)


def test_the_smoothing_widens_from_one_bin_to_eight():
    half = locked.half_widths()
    hz = np.arange(1025) * 22050 / 2048
    assert (half[hz <= 300] == 1).all()
    assert (half[hz >= 3000] == 8).all()
    assert (np.diff(half) >= 0).all()
    assert half[np.argmin(abs(hz - 950))] in (4, 5)  # halfway, in octaves


def test_cuda_equals_float64_without_a_sync(cuda):
    x, rates = torch.from_numpy(np.stack([music(), music(4.0, 1)])), np.array([0.8, 1.3])
    on_gpu = x.float().to(cuda)
    time_stretch(on_gpu, rates, 60_000)  # compiles, and makes the window
    with no_synchronisation():
        result = time_stretch(on_gpu, rates, 60_000)
    for row, reference in zip(result.cpu(), time_stretch(x, rates, 60_000), strict=True):
        assert error_db(row, reference.numpy()) < -70
