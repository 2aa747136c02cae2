"""Time stretch by a phase-locked vocoder that keeps level, partials and attacks, with a rate for each example.

Output frame u is centred on output sample ``u * HOP``, and reads the input exactly around ``t[u]``, a whole sample. Two
STFT frames are taken there, the second one hop earlier:

    t[u] = round(offset + u * HOP * rate)
    B[u] = STFT frame of the input centred on t[u]
    A[u] = STFT frame of the input centred on t[u] - HOP

From A to B, the input's partials turn by as much as the output's partials are to turn from frame u - 1 to frame u. So
the output frame Y[u] is B[u], turned as far against it as the frame before is turned against A[u]:

    Z[k] = Y[u - 1, k] * conj(A[u, k]) + O[u, k]                            rotation of bin k, and O of onsets, below
    S[k] = sum over |j| <= K[k] of (K[k] + 1 - |j|) * Z[k + j]              smoothed over neighbouring bins
    M[k] = sum over |j| <= K[k] of (K[k] + 1 - |j|) * |Z[k + j]|
    Y[u, k] = B[u, k] * S[k] / max(|S[k]|, M[k] / 5)                        turned, and nearly always as loud as B

A partial spans several bins, and these must turn as one, or it loses level and sounds like a choir [1]_. Smoothing does
that, as loud bins weigh more in Z by themselves. The half width K grows from 1 bin below `LOW` to 8 above `HIGH`:
in the bass, partials lie close together, and in the treble, an attack fills all bins. Where neighbours contradict each
other, and |S| is a small part of M, rounding errors would decide the phase, and later frames would follow it. So such a
bin gets quieter instead, which is rare: float32 and float64 give the same stretch, to -80 dB or better. Where S is
silent, Y is B.

Energy that was not in A has no history to follow. It is added with the phase that puts it at its true time:

    R[k] = max(|B[k]|^2 - 3 |A[k]|^2, 0)                                    energy that has risen
    D = sum over k of R[k] / |B[k]|^2 * B[k] * conj(B[k - 1])
    d = -N_FFT / (2 pi) * arg D                                             where it is, in samples after the centre
    s = (t[u] - offset + d) / rate - u * HOP - d                            how much later it belongs
    O[k] = 3/4 R[k] * exp(-2 pi i k s / N_FFT)

The first frame is u = -1, but frames centred before the input do not exist. The first that exists is B itself. At rate
1, Z is positive and s is 0, so the output is the input. Errors do not add up: Y depends on ever less of what was long
ago, so the stretch of a crop soon becomes that of the whole clip.

R, D and s do not depend on Y and are computed for all frames at once. The recursion is sequential over frames and
parallel over bins. Three versions of it exist: `_turn` here, `kernels.lanes_turn` and `kernels.triton_locked._turn`.

References
----------
.. [1] M. Puckette, "Phase-locked vocoder", IEEE Workshop on Applications of Signal Processing to Audio and Acoustics,
       1995: sums each bin with its two neighbours.
.. [2] A. Roebel, "A new approach to transient processing in the phase vocoder", DAFx 2003: finds attacks by the centre
       of gravity of a frame's energy, which is -arg D above.
"""

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gtzan_stream.dsp import safe
from gtzan_stream.dsp.backend import backend
from gtzan_stream.dsp.fft import empty_spectrum, windowed_rfft_at
from gtzan_stream.dsp.parameters import cuda_stream_id, to_device
from gtzan_stream.dsp.scratch import borrowed
from gtzan_stream.dsp.stft import frames_covering, hann, hann_array, overlap_add
from gtzan_stream.kernels import constants
from gtzan_stream.shapes import Waveform

if TYPE_CHECKING:
    from gtzan_stream.kernels.lanes_locked import Tables

N_FFT, HOP = 2048, 640
LOW, HIGH = 300 / 22050, 3000 / 22050
"""Frequencies between which the smoothing widens, in cycles per sample: 300 and 3,000 Hz at 22,050 Hz."""
WIDEST = constants.WIDEST
AGREEMENT = 0.2
"""Smallest |S| / M for which a bin keeps its level."""
SILENT_SUM = 1e-16
"""Smallest |S| that has a phase. Below it, a bin is not turned."""
SILENT_SLOPE = 1e-24
"""Smallest |D| that has a phase. Below it, d is 0."""
LIMITS = SILENT_SUM, SILENT_SLOPE, AGREEMENT
"""All three, as `kernels.lanes_locked` takes them."""


def source(length: int | np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute which input samples the stretch needs so that the output has no edge effects; see `stretch.source`.

    The first output frame is centred on output sample ``-HOP``, and A of the second on the input hop before sample 0.
    The last one is centred on output sample `last`. A frame begins half its length before its centre.
    """
    rate = np.asarray(rate)
    before = np.ceil(N_FFT // 2 + HOP * np.maximum(rate, 1)).astype(np.int64)
    last = (np.asarray(length) + N_FFT // 2 - 2) // HOP * HOP
    return before, before + np.ceil(last * rate).astype(np.int64) + N_FFT // 2


def stretch_batch(waveform: Waveform, rate: np.ndarray, offset: np.ndarray, bounds: np.ndarray, length: int) -> Tensor:
    """Stretch all rows at once, in plain torch or by the Triton kernel; the arguments are those of `time_stretch`.

    Output samples ``bounds[i, 0]`` to ``bounds[i, 1] - 1`` of row i are computed, and the others are zero.
    """
    centre, late = _frames(rate, offset, length)
    n_frames, exists = centre.shape[1], centre >= 0
    is_first = exists & ~np.roll(exists, 1, axis=1)  # its A is silent and s is 0, so Y is B
    starts = np.stack([centre, centre - HOP], axis=1) - N_FFT // 2  # of B and A
    silent = np.stack([~exists, ~exists | is_first], axis=1)
    starts = np.where(silent, -N_FFT, starts).reshape(len(starts), 2 * n_frames)
    spectra = windowed_rfft_at(waveform, hann(N_FFT, waveform.dtype, waveform.device), starts)
    per_sample = np.broadcast_to(1 / rate[:, None] - 1, late.shape)
    on_host = np.stack([np.where(is_first, 0, late), np.where(is_first, 0, per_sample), exists])
    later, per_sample, valid = to_device(on_host, waveform.device)
    if backend(waveform) == "triton":
        from gtzan_stream.kernels import triton_locked

        turned = empty_spectrum((len(waveform), n_frames, spectra.shape[2]), spectra)
        shifts = _shifts(triton_locked.slopes(spectra), later, per_sample)
        widths = _device_half_widths(waveform.device, cuda_stream_id(waveform.device))
        triton_locked.turn(spectra, shifts, widths, SILENT_SUM, AGREEMENT, turned)
    else:
        now, past = spectra[:, :n_frames], spectra[:, n_frames:]
        turned = _turn(now, past, _shifts(_slopes(now, past), later, per_sample))
    limits = to_device(bounds, waveform.device)
    return overlap_add(turned.transpose(1, 2), valid > 0, limits, length, HOP, n_before=1)


def _frames(rate: np.ndarray, offset: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute where the output frames are read; the first is centred on output sample ``-HOP``.

    Parameters
    ----------
    rate, offset : float64 [batch]
    length : int

    Returns
    -------
    centre : int64 [batch, frame]
        The input sample t that a frame is centred on.
    late : float64 [batch, frame]
        By how many samples an event at t belongs after the frame's centre: s, if d is 0.
    """
    u = np.arange(-1, frames_covering(length, N_FFT, HOP))
    centre = np.rint(offset[:, None] + u * HOP * rate[:, None])
    return centre.astype(np.int64), (centre - offset[:, None]) / rate[:, None] - u * HOP


def _power(spectrum: Tensor) -> Tensor:
    return spectrum.real.square() + spectrum.imag.square()


def _slopes(now: Tensor, past: Tensor) -> Tensor:
    """Compute D of each frame, complex [batch, frame], in plain torch."""
    power, threshold = _power(now), constants.RISE * _power(past)
    risen = safe.divide((power - threshold).clamp(min=0), power, power > threshold, 0.0)
    return (risen[:, :, 1:] * now[:, :, 1:] * now[:, :, :-1].conj()).sum(2)


def _shifts(slopes: Tensor, late: Tensor, per_sample: Tensor) -> Tensor:
    """Compute s of each frame: float64 [batch, frame].

    The phases of `slopes` are those at a frame's first sample. At its centre, every second bin has the other sign, so D
    has, too.
    """
    heard = slopes.abs() > SILENT_SLOPE
    angle = torch.angle(torch.where(heard, -slopes, 1.0)).double()
    return late - N_FFT / (2 * math.pi) * angle * per_sample


def _turn(now: Tensor, past: Tensor, shifts: Tensor) -> Tensor:
    """Compute the output frames Y by the formulas at the top, in plain torch: complex [batch, frame, freq]."""
    power = _power(now)
    k = torch.arange(now.shape[2], dtype=torch.float64, device=now.device)
    turns = shifts[:, :, None] * (k / N_FFT)
    angle = (-2 * math.pi * (turns - turns.round())).to(power.dtype)
    rise = (power - constants.RISE * _power(past)).clamp(min=0)
    onset = constants.ONSET_WEIGHT * rise * torch.polar(torch.ones_like(angle), angle)
    weights = _weights(power.dtype, now.device, cuda_stream_id(now.device)).T

    def smooth(x: Tensor) -> Tensor:
        return (functional.pad(x, (WIDEST, WIDEST)).unfold(1, 2 * WIDEST + 1, 1) * weights).sum(2)

    turned = [now[:, 0]]
    for u in range(1, now.shape[1]):
        rotation = turned[-1] * past[:, u].conj() + onset[:, u]
        total, least = smooth(rotation), AGREEMENT * smooth(rotation.abs())
        size = total.abs()
        unit = safe.divide(total, torch.maximum(size, least), size > SILENT_SUM, 1.0)
        turned.append(now[:, u] * unit)
    return torch.stack(turned, dim=1)


@lru_cache(maxsize=1)
def half_widths() -> np.ndarray:
    """Return K, the half width of the smoothing for each bin: int64 [freq]."""
    frequency = np.maximum(np.arange(N_FFT // 2 + 1), 0.5) / N_FFT  # 0 has no logarithm
    place = np.log(frequency / LOW) / np.log(HIGH / LOW)
    return np.rint(1 + (WIDEST - 1) * np.clip(place, 0, 1)).astype(np.int64)


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def _device_half_widths(device: torch.device, stream: int) -> Tensor:
    """Return `half_widths` for a kernel: float32 [freq]."""
    return to_device(half_widths().astype(np.float32), device)


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def _weights(dtype: torch.dtype, device: torch.device, stream: int) -> Tensor:
    """Return the weights of each bin's neighbours: [2 * WIDEST + 1, freq]."""
    distance = np.abs(np.arange(-WIDEST, WIDEST + 1))[:, None]
    triangles = np.maximum(half_widths() + 1.0 - distance, 0)
    return to_device(triangles, device).to(dtype)


def stretch_row(samples: np.ndarray, rate: float, offset: float, output: np.ndarray) -> None:
    """Fill `output` [length] with the stretched `samples` [time] on this thread."""
    from gtzan_stream.kernels.lanes import lanes

    rates, offsets = np.array([rate]), np.array([offset])
    if not lanes():
        waveform = torch.from_numpy(np.array(samples))[None]
        bounds = np.array([[0, len(output)]])
        torch.from_numpy(output).copy_(stretch_batch(waveform, rates, offsets, bounds, len(output))[0])
        return
    from gtzan_stream.kernels import lanes_locked

    (centre,), (late,) = _frames(rates, offsets, len(output))
    first = int(np.searchsorted(centre, 0))  # the first frame that exists
    centre, late = centre[first:], late[first:]
    if not len(centre):
        output[:] = 0
        return
    with borrowed(lanes_locked.scratch_size(len(samples), len(centre), N_FFT, HOP), np.float32) as memory:
        lanes_locked.stretch(samples, centre, HOP, first - 1, late, 1 / rate - 1, _tables(), LIMITS, memory, output)


@lru_cache(maxsize=1)
def _tables() -> "Tables":
    from gtzan_stream.kernels import lanes_locked

    return lanes_locked.tables(hann_array(N_FFT), half_widths())
