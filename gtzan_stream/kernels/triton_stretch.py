"""The phase vocoder's recursion on CUDA: a parallel scan over time; `gtzan_stream.dsp.stretch` has the formulas.

A program owns FREQUENCIES bins of one example and walks over its output frames, FRAMES at a time. The rotations
``r[k] = conj(U[t]) * U[t + 1]`` of a tile are independent, and multiplication is associative, so their running product
``s[k] = r[0] * ... * r[k]`` takes log2(FRAMES) steps instead of FRAMES. Frame k of the tile then has the phase
``P[0] * s[k] * conj(r[k])``, the product of all rotations before it, and the next tile starts with ``P[0] * s[last]``.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl

from gtzan_stream.kernels import constants

FRAMES, FREQUENCIES = 32, 32  # size of a tile
SILENT = tl.constexpr(constants.SILENT_POWER)


@triton.jit
@no_type_check
def _multiply(ar, ai, br, bi):
    return ar * br - ai * bi, ar * bi + ai * br


@triton.jit
@no_type_check
def _unit(re, im):
    """Split complex numbers into magnitude and unit phasor; the phasor of silence is 1."""
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
def _vocode(
    spectrogram, position, out, n_in, n_out, n_freq, FRAMES: tl.constexpr, FREQUENCIES: tl.constexpr
):  # fmt: skip
    tiles = tl.cdiv(n_freq, FREQUENCIES)
    row = (tl.program_id(0) // tiles).to(tl.int64)
    freq = tl.program_id(0) % tiles * FREQUENCIES + tl.arange(0, FREQUENCIES)
    is_bin = freq < n_freq
    spectrogram += row * n_in * n_freq * 2
    first = tl.load(position + row * n_out)
    first = tl.minimum(tl.maximum(first, 0.0), n_in - 1.0).to(tl.int64)
    start = spectrogram + (first * n_freq + freq) * 2
    _, pr, pi = _unit(tl.load(start, mask=is_bin, other=0.0), tl.load(start + 1, mask=is_bin, other=0.0))
    begin = 0
    while begin < n_out:  # Triton's interpreter cannot run range() over an argument
        frame = begin + tl.arange(0, FRAMES)
        frame_position = tl.load(position + row * n_out + frame, mask=frame < n_out, other=-1.0)
        valid = (frame_position >= 0) & (frame_position < n_in)
        left = tl.where(valid, frame_position, 0.0).to(tl.int64)
        alpha = tl.where(valid, frame_position - left, 0.0).to(tl.float32)[:, None]
        a = spectrogram + (left[:, None] * n_freq + freq[None, :]) * 2
        b = a + n_freq * 2
        a_exists = valid[:, None] & is_bin[None, :]
        b_exists = a_exists & (left + 1 < n_in)[:, None]
        a_level, ar, ai = _unit(tl.load(a, mask=a_exists, other=0.0), tl.load(a + 1, mask=a_exists, other=0.0))
        b_level, br, bi = _unit(tl.load(b, mask=b_exists, other=0.0), tl.load(b + 1, mask=b_exists, other=0.0))
        rr, ri = _multiply(ar, -ai, br, bi)
        sr, si = tl.associative_scan((rr, ri), 0, _multiply)  # the phase is accumulated here
        # Take the frame's own rotation out again: the inverse of a unit phasor is its conjugate.
        qr, qi = _multiply(sr, si, rr, -ri)
        qr, qi = _multiply(qr, qi, pr[None, :], pi[None, :])
        level = a_level + alpha * (b_level - a_level)
        target = out + ((row * n_out + frame[:, None]) * n_freq + freq[None, :]) * 2
        stored = (frame < n_out)[:, None] & is_bin[None, :]
        tl.store(target, level * qr, mask=stored)
        tl.store(target + 1, level * qi, mask=stored)
        last = (tl.arange(0, FRAMES) == FRAMES - 1)[:, None]
        pr, pi = _multiply(pr, pi, tl.sum(tl.where(last, sr, 0.0), 0), tl.sum(tl.where(last, si, 0.0), 0))
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
            _vocode[(triton.cdiv(n_freq, FREQUENCIES) * batch,)](
                torch.view_as_real(spectrogram.contiguous()), position.contiguous(), torch.view_as_real(out),
                n_in, n_out, n_freq, FRAMES=FRAMES, FREQUENCIES=FREQUENCIES,
            )  # fmt: skip
