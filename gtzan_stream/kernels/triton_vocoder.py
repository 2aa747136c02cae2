"""The phase vocoder's recursion on CUDA; `gtzan_stream.dsp.vocoder` has the formulas.

A program owns LANES bins of one example, a thread for each, and walks over its output frames, so that the phase is a
running product in registers. FRAMES frames are loaded before the first of them is used, because a load takes as long as
the arithmetic of several frames. Real and imaginary part of a bin are read and written as one number of 64 bits.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.triton_stft import join, split

FRAMES, LANES = 8, 128
SILENT = tl.constexpr(constants.SILENT_POWER)


@triton.jit
@no_type_check
def _multiply(ar, ai, br, bi):
    return ar * br - ai * bi, ar * bi + ai * br


@triton.jit
@no_type_check
def _unit(pair):
    """Split complex numbers into magnitude and unit phasor; the phasor of silence is 1."""
    re, im = split(pair)
    power = re * re + im * im
    audible = power > SILENT
    level = tl.sqrt(power)
    scale = 1.0 / tl.where(audible, level, 1.0)
    return level, tl.where(audible, re * scale, 1.0), tl.where(audible, im * scale, 0.0)


@triton.jit
@no_type_check
def _normalise(re, im):
    """Scale back to length 1, from which rounding drifts: one Newton step for 1 / sqrt(|z|^2)."""
    scale = 1.5 - 0.5 * (re * re + im * im)
    return re * scale, im * scale


@triton.jit
@no_type_check
def _vocode(spectrogram, position, out, n_in, n_out, n_freq, FRAMES: tl.constexpr, LANES: tl.constexpr):
    tiles = tl.cdiv(n_freq, LANES)
    row = (tl.program_id(0) // tiles).to(tl.int64)
    freq = tl.program_id(0) % tiles * LANES + tl.arange(0, LANES)
    is_bin = freq < n_freq
    spectrogram += row * n_in * n_freq + freq
    position += row * n_out
    target = out + row * n_out * n_freq + freq
    first = tl.load(position)
    first = tl.minimum(tl.maximum(first, 0.0), n_in - 1.0).to(tl.int64)
    _, pr, pi = _unit(tl.load(spectrogram + first * n_freq, mask=is_bin, other=0))
    begin = 0
    while begin < n_out:  # Triton's interpreter cannot run range() over an argument
        loaded = ()
        for i in tl.static_range(FRAMES):
            frame_position = tl.load(position + begin + i, mask=begin + i < n_out, other=-1.0)
            left = tl.floor(frame_position).to(tl.int64)
            a = tl.load(spectrogram + left * n_freq, mask=is_bin & (left >= 0) & (left < n_in), other=0)
            b = tl.load(spectrogram + (left + 1) * n_freq, mask=is_bin & (left >= 0) & (left + 1 < n_in), other=0)
            alpha = (frame_position - left).to(tl.float32)
            loaded = loaded + ((a, b, alpha),)  # noqa: RUF005
        for i in tl.static_range(FRAMES):
            a, b, alpha = loaded[i]
            a_level, ar, ai = _unit(a)
            b_level, br, bi = _unit(b)
            level = a_level + alpha * (b_level - a_level)
            tl.store(target, join(level * pr, level * pi), mask=is_bin & (begin + i < n_out))
            rr, ri = _multiply(ar, -ai, br, bi)  # how far the phase turns from this frame to the next
            pr, pi = _multiply(pr, pi, rr, ri)
            target += n_freq
        pr, pi = _normalise(pr, pi)
        begin += FRAMES


def vocode(spectrogram: torch.Tensor, position: torch.Tensor, out: torch.Tensor) -> None:
    """Fill `out` with output frames: interpolated magnitudes times accumulated phases.

    Parameters
    ----------
    spectrogram : complex64 [batch, frame, freq]
    position : float64 [batch, output frame]
        Where each output frame reads, in input frames. Outside ``0 <= position < frame`` the output is zero.
    out : complex64 [batch, output frame, freq], contiguous
    """
    batch, n_in, n_freq = spectrogram.shape
    n_out = position.shape[1]
    if out.numel():
        with torch.cuda.device_of(spectrogram):
            _vocode[(triton.cdiv(n_freq, LANES) * batch,)](
                spectrogram.contiguous().view(torch.int64), position.contiguous(), out.view(torch.int64),
                n_in, n_out, n_freq, FRAMES=FRAMES, LANES=LANES, num_warps=LANES // 32,
            )  # fmt: skip
