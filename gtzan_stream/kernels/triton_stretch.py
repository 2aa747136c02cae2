"""The phase vocoder's recursion on CUDA: a scan over time, a tile of frames and frequencies at once."""

from typing import no_type_check

import torch
import triton
import triton.language as tl

from gtzan_stream.kernels import constants

FRAMES, FREQUENCIES = 32, 32  # of a tile
SILENT = tl.constexpr(constants.SILENT_POWER)


@triton.jit
@no_type_check
def _multiply(ar, ai, br, bi):
    return ar * br - ai * bi, ar * bi + ai * br


@triton.jit
@no_type_check
def _unit(re, im):
    """Level and direction; that of silence, whose phase is no number, is 1."""
    power = re * re + im * im
    heard = power > SILENT
    level = tl.sqrt(power)
    scale = 1.0 / tl.where(heard, level, 1.0)
    return level, tl.where(heard, re * scale, 1.0), tl.where(heard, im * scale, 0.0)


@triton.jit
@no_type_check
def _normalise(re, im):
    scale = 1.5 - 0.5 * (re * re + im * im)  # back to length 1, or rounding would add up
    return re * scale, im * scale


@triton.jit
@no_type_check
def _vocode(
    spectrogram, position, out, n_in, n_out, n_freq, FRAMES: tl.constexpr, FREQUENCIES: tl.constexpr
):  # fmt: skip
    row = tl.program_id(1).to(tl.int64)
    freq = tl.program_id(0) * FREQUENCIES + tl.arange(0, FREQUENCIES)
    here = freq < n_freq
    spectrogram += row * n_in * n_freq * 2
    first = tl.load(position + row * n_out)
    first = tl.minimum(tl.maximum(first, 0.0), n_in - 1.0).to(tl.int64)
    start = spectrogram + (first * n_freq + freq) * 2
    _, pr, pi = _unit(tl.load(start, mask=here, other=0.0), tl.load(start + 1, mask=here, other=0.0))
    begin = 0
    while begin < n_out:  # not range: the interpreter cannot turn an argument into one
        frame = begin + tl.arange(0, FRAMES)
        place = tl.load(position + row * n_out + frame, mask=frame < n_out, other=-1.0)
        alive = (place >= 0) & (place < n_in)
        left = tl.where(alive, place, 0.0).to(tl.int64)
        alpha = tl.where(alive, place - left, 0.0).to(tl.float32)[:, None]
        a = spectrogram + (left[:, None] * n_freq + freq[None, :]) * 2
        b = a + n_freq * 2
        wanted = alive[:, None] & here[None, :]
        more = wanted & (left + 1 < n_in)[:, None]
        a_level, ar, ai = _unit(tl.load(a, mask=wanted, other=0.0), tl.load(a + 1, mask=wanted, other=0.0))
        b_level, br, bi = _unit(tl.load(b, mask=more, other=0.0), tl.load(b + 1, mask=more, other=0.0))
        tr, ti = _multiply(ar, -ai, br, bi)
        sr, si = tl.associative_scan((tr, ti), 0, _multiply)
        qr, qi = _multiply(sr, si, tr, -ti)  # the product before this frame: a unit phasor's inverse is its conjugate
        qr, qi = _multiply(qr, qi, pr[None, :], pi[None, :])
        level = a_level + alpha * (b_level - a_level)
        target = out + ((row * n_out + frame[:, None]) * n_freq + freq[None, :]) * 2
        stored = (frame < n_out)[:, None] & here[None, :]
        tl.store(target, level * qr, mask=stored)
        tl.store(target + 1, level * qi, mask=stored)
        last = (tl.arange(0, FRAMES) == FRAMES - 1)[:, None]
        pr, pi = _multiply(pr, pi, tl.sum(tl.where(last, sr, 0.0), 0), tl.sum(tl.where(last, si, 0.0), 0))
        pr, pi = _normalise(pr, pi)
        begin += FRAMES


def vocode(spectrogram: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Read a spectrogram at fractional frames, turning each bin by a running product of unit phasors.

    Parameters
    ----------
    spectrogram : complex64 [batch, frame, freq]
    position : float64 [batch, output frame]
        Where to read, in input frames; outside ``0 <= position < frame`` the output is zero.

    Returns
    -------
    Tensor [batch, output frame, freq], complex64
    """
    batch, n_in, n_freq = spectrogram.shape
    n_out = position.shape[1]
    out = spectrogram.new_empty(batch, n_out, n_freq)
    if out.numel():
        with torch.cuda.device_of(spectrogram):
            _vocode[triton.cdiv(n_freq, FREQUENCIES), batch](
                torch.view_as_real(spectrogram.contiguous()), position.contiguous(), torch.view_as_real(out),
                n_in, n_out, n_freq, FRAMES=FRAMES, FREQUENCIES=FREQUENCIES,
            )  # fmt: skip
    return out
