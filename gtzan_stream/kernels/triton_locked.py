"""The phase-locked vocoder on CUDA; `gtzan_stream.dsp.locked` has the formulas.

`_slope` computes D, with one program for each frame. `_turn` has one program for each example, since the recursion
goes from frame to frame, and each thread has one bin in each of several tiles. Bins exchange their rotations Z through
`rotation`, memory that stays in the cache: a program writes those of a frame, waits for all its threads, and reads the
neighbours. Frames take turns between two halves of it, so that one barrier a frame is enough.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.triton_stft import join, split

LANES = 256  # bins in a tile
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
def _turn(
    spectra, shifts, weights, rotation, out, n_frames, n_freq, smallest, agreement, N_FFT: tl.constexpr,
    WIDEST: tl.constexpr, TILES: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    now = spectra + 2 * row * n_frames * n_freq
    past = spectra + (2 * row + 1) * n_frames * n_freq
    shifts += row * n_frames
    out += row * n_frames * n_freq
    padded = TILES * LANES + 2 * WIDEST  # rotations of one frame, between zeros
    rotation += row * 6 * padded + WIDEST
    lane = tl.arange(0, LANES)
    turned = ()
    for tile in tl.static_range(TILES):
        k = tile * LANES + lane
        first = tl.load(now + k, mask=k < n_freq, other=0)
        tl.store(out + k, first, mask=k < n_freq)
        turned = turned + (split(first),)  # noqa: RUF005
    u = 1
    while u < n_frames:  # Triton's interpreter cannot run range() over an argument
        now += n_freq
        past += n_freq
        out += n_freq
        half = rotation + u % 2 * 3 * padded
        shift = tl.load(shifts + u)
        for tile in tl.static_range(TILES):
            k = tile * LANES + lane
            br, bi = split(tl.load(now + k, mask=k < n_freq, other=0))
            ar, ai = split(tl.load(past + k, mask=k < n_freq, other=0))
            yr, yi = turned[tile]
            rise = ONSET_WEIGHT * tl.maximum(br * br + bi * bi - RISE * (ar * ar + ai * ai), 0.0)
            turns = k * shift / N_FFT
            angle = (-6.283185307179586 * (turns - tl.floor(turns + 0.5))).to(tl.float32)
            zr = yr * ar + yi * ai + rise * tl.cos(angle)
            zi = yi * ar - yr * ai + rise * tl.sin(angle)
            tl.store(half + k, zr)
            tl.store(half + padded + k, zi)
            tl.store(half + 2 * padded + k, tl.sqrt(zr * zr + zi * zi))
        tl.debug_barrier()
        result = ()
        for tile in tl.static_range(TILES):
            k = tile * LANES + lane
            re, im, total = tl.zeros([LANES], tl.float32), tl.zeros([LANES], tl.float32), tl.zeros([LANES], tl.float32)
            for j in tl.static_range(2 * WIDEST + 1):
                w = tl.load(weights + j * n_freq + k, mask=k < n_freq, other=0.0)
                re += w * tl.load(half + k + (j - WIDEST))
                im += w * tl.load(half + padded + k + (j - WIDEST))
                total += w * tl.load(half + 2 * padded + k + (j - WIDEST))
            br, bi = split(tl.load(now + k, mask=k < n_freq, other=0))
            size = tl.sqrt(re * re + im * im)
            heard = size > smallest
            scale = 1.0 / tl.where(heard, tl.maximum(size, agreement * total), 1.0)
            re, im = tl.where(heard, re * scale, 1.0), tl.where(heard, im * scale, 0.0)
            yr, yi = br * re - bi * im, br * im + bi * re
            tl.store(out + k, join(yr, yi), mask=k < n_freq)
            result = result + ((yr, yi),)  # noqa: RUF005
        turned = result
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
    weights: torch.Tensor,
    smallest: float,
    agreement: float,
    out: torch.Tensor,
) -> None:
    """Fill `out`, complex64 [batch, frame, freq], contiguous, with the output frames Y.

    Parameters
    ----------
    spectra
        As in `slopes`.
    shifts : float64 [batch, frame]
        How much later each frame's onset belongs, in samples: s.
    weights : float32 [2 * widest + 1, freq]
        Weights of a bin's neighbours in S.
    smallest : float
        Smallest |S| that has a phase.
    agreement : float
        Smallest |S| / M for which a bin keeps its level.
    """
    batch, n_frames, n_freq = out.shape
    if out.numel():
        widest, tiles = len(weights) // 2, triton.cdiv(n_freq, LANES)
        rotation = weights.new_zeros(batch, 2, 3, tiles * LANES + 2 * widest)
        with torch.cuda.device_of(spectra):
            _turn[(batch,)](
                spectra.view(torch.int64), shifts.contiguous(), weights, rotation, out.view(torch.int64),
                n_frames, n_freq, smallest, agreement, N_FFT=2 * (n_freq - 1), WIDEST=widest, TILES=tiles, LANES=LANES,
                num_warps=LANES // 32,
            )  # fmt: skip
