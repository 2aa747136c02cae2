"""The phase-locked vocoder on CUDA; `gtzan_stream.dsp.locked` has the formulas.

`_slope` computes D, with one program for each frame. `_turn` has one program for each example, since the recursion
goes from frame to frame. Bins exchange their rotations Z through `rotation`, memory that stays in the cache: a program
writes those of a frame, waits for all its threads, and reads the neighbours. Frames take turns between two halves of
it, so that one barrier a frame is enough.

The cache limits `_turn`, so a lane has four bins, ``4 lane`` to ``4 lane + 3``, and their four sums share what is read:

    Z[4 lane - 8 : 4 lane + 12] = 8 before, 4 of its own, 8 after       two and two reads of 16 bytes

The weight of a neighbour, ``max(K + 1 - |j|, 0)``, is computed, which costs less than reading it. The phasors of the
onsets are two sines and cosines a lane, ``exp(-i k a) = exp(-4 i lane a) exp(-i a)^c``. B and A of the next frame are
read before the barrier, so that the smoothing hides the time that memory takes.

Four times the lanes are one bin less than a spectrum has. All threads compute the last bin.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.triton_random import sine_cosine
from gtzan_stream.kernels.triton_stft import columns, join, matrix, split

LANES = 256  # bins in a tile of `_slope`
WARPS = 4  # of `_turn`: two programs share a multiprocessor, if a thread has up to 255 registers
RISE, ONSET_WEIGHT = tl.constexpr(constants.RISE), tl.constexpr(constants.ONSET_WEIGHT)


@triton.jit
@no_type_check
def _slope(spectra, slopes, n_frames, n_freq, TILES: tl.constexpr, LANES: tl.constexpr):
    row, frame = (tl.program_id(0) // n_frames).to(tl.int64), tl.program_id(0) % n_frames
    now = spectra + (2 * row * n_frames + frame) * n_freq
    past = spectra + ((2 * row + 1) * n_frames + frame) * n_freq
    total_re, total_im = tl.zeros([LANES], tl.float32), tl.zeros([LANES], tl.float32)
    for tile in tl.static_range(TILES):
        k = 1 + tile * LANES + tl.arange(0, LANES)
        br, bi = split(tl.load(now + k, mask=k < n_freq, other=0))
        cr, ci = split(tl.load(now + k - 1, mask=k < n_freq, other=0))
        ar, ai = split(tl.load(past + k, mask=k < n_freq, other=0))
        power, threshold = br * br + bi * bi, RISE * (ar * ar + ai * ai)
        risen = tl.where(power > threshold, 1.0 - threshold / tl.where(power > threshold, power, 1.0), 0.0)
        total_re += risen * (br * cr + bi * ci)
        total_im += risen * (bi * cr - br * ci)
    target = slopes + 2 * tl.program_id(0).to(tl.int64)
    tl.store(target, tl.sum(total_re, 0))
    tl.store(target + 1, tl.sum(total_im, 0))


@triton.jit
@no_type_check
def _phasor(k, shift, N_FFT: tl.constexpr):
    """Return real and imaginary part of ``exp(-2 pi i k shift / N_FFT)``."""
    turns = k * (shift * (1.0 / N_FFT))
    sine, cosine = sine_cosine((tl.floor(turns + 0.5) - turns).to(tl.float32))
    return cosine, sine


@triton.jit
@no_type_check
def _times(a, b):
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


@triton.jit
@no_type_check
def _rotation(y, b, a, phasor):
    """Compute Z, and |Z|."""
    rise = ONSET_WEIGHT * tl.maximum(b[0] * b[0] + b[1] * b[1] - RISE * (a[0] * a[0] + a[1] * a[1]), 0.0)
    re = y[0] * a[0] + y[1] * a[1] + rise * phasor[0]
    im = y[1] * a[0] - y[0] * a[1] + rise * phasor[1]
    return re, im, tl.sqrt(re * re + im * im)


@triton.jit
@no_type_check
def _smooth(own, rotation, heights, WIDEST: tl.constexpr):
    """Sum the neighbours of each lane's `own` bins under their triangles; `rotation` [lane, 4] points to the bins."""
    x = ()
    for first in tl.static_range(-WIDEST, WIDEST + 4, 4):
        x = x + (own if first == 0 else columns(tl.load(rotation + first)))
    sums = ()
    for c in tl.static_range(4):
        total = heights[c] * x[WIDEST + c]
        for j in tl.static_range(1, WIDEST + 1):
            total += tl.maximum(heights[c] - j, 0.0) * (x[WIDEST + c - j] + x[WIDEST + c + j])
        sums = sums + (total,)  # noqa: RUF005
    return sums


@triton.jit
@no_type_check
def _turned(b, re, im, total, smallest, agreement):
    """Compute Y of B, S and M."""
    power, least = re * re + im * im, agreement * total
    heard = power > smallest * smallest
    scale = tl.rsqrt(tl.where(heard, tl.maximum(power, least * least), 1.0))
    return _times(b, (tl.where(heard, re * scale, 1.0), tl.where(heard, im * scale, 0.0)))


@triton.jit
@no_type_check
def _turn(
    spectra, shifts, half_widths, rotation, out, n_frames, smallest, agreement, WIDEST: tl.constexpr,
    LANES: tl.constexpr,
):  # fmt: skip
    LAST: tl.constexpr = 4 * LANES  # the last bin, which all threads compute
    N_FREQ: tl.constexpr = LAST + 1
    N_FFT: tl.constexpr = 2 * LAST
    PLANE: tl.constexpr = LAST + 4 * WIDEST  # real or imaginary parts or magnitudes of a frame, between zeros
    row = tl.program_id(0).to(tl.int64)
    now = spectra + 2 * row * n_frames * N_FREQ
    past = spectra + (2 * row + 1) * n_frames * N_FREQ
    shifts += row * n_frames
    out += row * n_frames * N_FREQ
    rotation += row * 6 * PLANE + WIDEST
    lane = tl.arange(0, LANES)
    k = 4 * lane[:, None] + tl.arange(0, 4)[None, :]
    heights = columns(tl.load(half_widths + k) + 1.0)
    near = tl.arange(0, 2 * WIDEST)
    last_weights = tl.maximum(tl.load(half_widths + LAST) + 1.0 - near, 0.0)
    first, last_y = tl.load(now + k), tl.load(now + LAST)
    tl.store(out + k, first)
    tl.store(out + LAST, last_y)
    y, last_y = columns(first), split(last_y)
    y = (split(y[0]), split(y[1]), split(y[2]), split(y[3]))
    u = 1
    step = tl.where(u < n_frames, N_FREQ, 0)
    next_b, last_next_b = columns(tl.load(now + step + k)), tl.load(now + step + LAST)
    next_a, last_next_a = columns(tl.load(past + step + k)), tl.load(past + step + LAST)
    next_shift = tl.load(shifts + (u < n_frames))
    while u < n_frames:  # Triton's interpreter cannot run range() over an argument
        half = rotation + u % 2 * 3 * PLANE
        shift = next_shift
        b, a, z = (), (), ()
        phasor, factor = _phasor(4 * lane, shift, N_FFT), _phasor(1, shift, N_FFT)
        for c in tl.static_range(4):
            b, a = b + (split(next_b[c]),), a + (split(next_a[c]),)  # noqa: RUF005
            z = z + (_rotation(y[c], b[c], a[c], phasor),)  # noqa: RUF005
            phasor = _times(phasor, factor)
        last_b = split(last_next_b)
        last_z = _rotation(last_y, last_b, split(last_next_a), _phasor(LAST, shift, N_FFT))
        for part in tl.static_range(3):
            tl.store(half + part * PLANE + k, matrix(z[0][part], z[1][part], z[2][part], z[3][part]))
            tl.store(half + part * PLANE + LAST, last_z[part])
        now += N_FREQ
        past += N_FREQ
        out += N_FREQ
        step = tl.where(u + 1 < n_frames, N_FREQ, 0)  # the next frame is read now, so that it need not be waited for
        next_b, last_next_b = columns(tl.load(now + step + k)), tl.load(now + step + LAST)
        next_a, last_next_a = columns(tl.load(past + step + k)), tl.load(past + step + LAST)
        next_shift = tl.load(shifts + u + (u + 1 < n_frames))
        tl.debug_barrier()
        sums, last_sums = (), ()
        for part in tl.static_range(3):
            own = (z[0][part], z[1][part], z[2][part], z[3][part])
            sums = sums + (_smooth(own, half + part * PLANE + k, heights, WIDEST),)  # noqa: RUF005
            nearest = tl.load(half + part * PLANE + LAST - near)
            last_sums = last_sums + (tl.sum(last_weights * nearest, 0),)  # noqa: RUF005
        result, pairs = (), ()
        for c in tl.static_range(4):
            turned = _turned(b[c], sums[0][c], sums[1][c], sums[2][c], smallest, agreement)
            result, pairs = result + (turned,), pairs + (join(turned[0], turned[1]),)  # noqa: RUF005
        y, last_y = result, _turned(last_b, last_sums[0], last_sums[1], last_sums[2], smallest, agreement)
        tl.store(out + k, matrix(pairs[0], pairs[1], pairs[2], pairs[3]))
        tl.store(out + LAST, join(last_y[0], last_y[1]))
        u += 1


def slopes(spectra: torch.Tensor) -> torch.Tensor:
    """Compute D of each frame: complex64 [batch, frame].

    `spectra` is contiguous complex64 [batch, 2 * frame, freq], first all frames B, then all frames A.
    """
    batch, n_frames, n_freq = spectra.shape[0], spectra.shape[1] // 2, spectra.shape[2]
    out = torch.empty(batch, n_frames, 2, dtype=torch.float32, device=spectra.device)
    if out.numel():
        with torch.cuda.device_of(spectra):
            _slope[(batch * n_frames,)](
                spectra.view(torch.int64), out, n_frames, n_freq, TILES=triton.cdiv(n_freq - 1, LANES),
                LANES=LANES, num_warps=LANES // 64,
            )  # fmt: skip
    return torch.view_as_complex(out)


def turn(
    spectra: torch.Tensor,
    shifts: torch.Tensor,
    half_widths: torch.Tensor,
    smallest: float,
    agreement: float,
    out: torch.Tensor,
) -> None:
    """Fill `out`, complex64 [batch, frame, freq], contiguous, with the output frames Y; freq - 1 is a power of 2.

    Parameters
    ----------
    spectra
        As in `slopes`.
    shifts : float64 [batch, frame]
        How much later each frame's onset belongs, in samples: s.
    half_widths : float32 [freq]
        K of each bin, at most `WIDEST`.
    smallest : float
        Smallest |S| that has a phase.
    agreement : float
        Smallest |S| / M for which a bin keeps its level.
    """
    batch, n_frames, n_freq = out.shape
    if out.numel():
        rotation = half_widths.new_zeros(batch, 6 * (n_freq - 1 + 4 * constants.WIDEST))
        with torch.cuda.device_of(spectra):
            _turn[(batch,)](
                spectra.view(torch.int64), shifts.contiguous(), half_widths, rotation, out.view(torch.int64),
                n_frames, smallest, agreement, WIDEST=constants.WIDEST, LANES=n_freq // 4, num_warps=WARPS,
            )  # fmt: skip
