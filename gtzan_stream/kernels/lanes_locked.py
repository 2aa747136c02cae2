"""Time stretch of one row by the phase-locked vocoder; `gtzan_stream.dsp.locked` has the formulas.

Output frames are computed in groups of L. Fourier transforms have one frame in each lane, and the recursion, which goes
from frame to frame, has L neighbouring bins of one frame in a vector (`gtzan_stream.kernels.vector`):

    samples --cut_at, fft, split--> A and B  [bin, 2, frame]    real parts of a bin, then imaginary parts
    A and B --_slopes-------------> D        [frame]
    A and B --transpose-----------> planes   [frame, 2, bin]    real parts of a frame, then imaginary parts
    planes  --lanes_turn----------> Y in place of B, frame by frame --transpose, join, fft--> added to the output

A plane has `width` numbers, as the last bins do not fill a vector. Those after the last bin are 0.
"""

import math
from typing import NamedTuple, no_type_check

import numpy as np

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.compiled import compiled
from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.lanes_fft import STEP, fft, plan
from gtzan_stream.kernels.lanes_frames import add_frames, cut_at
from gtzan_stream.kernels.lanes_rfft import join, split
from gtzan_stream.kernels.lanes_turn import PADDING, powers, rotations, smooth_and_turn
from gtzan_stream.kernels.numba_stft import divide_by_windows
from gtzan_stream.kernels.vector import fma, load, splat, store, where_less
from gtzan_stream.kernels.vector_blocks import transpose

_ZERO, _ONE = np.float32(0), np.float32(1)
_RISE = np.float32(constants.RISE)


class Tables(NamedTuple):
    """What is the same for all rows, float32.

    window, half_window : [n_fft], for the inverse STFT, and times 1/2 for the STFT, as `lanes_rfft` needs it
    is_near : [WIDEST, width], row m - 1 is 1 for the bins that are smoothed over m or more neighbours a side, else 0
    """

    window: np.ndarray
    half_window: np.ndarray
    is_near: np.ndarray


class _Scratch(NamedTuple):
    """Intermediate results, float32, with the sizes of `_sizes`."""

    padded: np.ndarray  # the samples between zeros
    total: np.ndarray  # sum of the output's frames
    buffer: np.ndarray  # one group in the FFT
    now: np.ndarray  # B, [bin, 2, lane]; later Y
    past: np.ndarray  # A
    now_planes: np.ndarray  # B, [frame, 2, bin]; later Y
    past_planes: np.ndarray  # A
    turned: np.ndarray  # Y of the last frame, [2, bin]
    phasor: np.ndarray  # exp(-2 pi i k s / n_fft), [2, bin]
    rotation: np.ndarray  # Z and |Z|, [3, bin], each between zeros


def width(n_fft: int) -> int:
    """Return the numbers of a plane: the bins, rounded up to a multiple of 16."""
    return -(-(n_fft // 2 + 1) // 16) * 16


def _sizes(n_samples: int, n_frames: int, n_fft: int, hop: int) -> tuple[int, ...]:
    n_bins = width(n_fft)
    spectrum, planes = n_bins * STEP, LANES * 2 * n_bins
    sizes = (
        n_samples + 2 * n_fft,
        n_frames * hop + 2 * n_fft,  # and one for frames that do not exist
        n_fft * LANES,
        spectrum,
        spectrum,
        planes,
        planes,
        2 * n_bins,
        2 * n_bins,
        3 * (n_bins + 2 * PADDING),
    )
    return tuple(-(-size // 16) * 16 for size in sizes)


@compiled()
@no_type_check
def _transform(padded, starts, half_window, table, buffer, spectrum):
    """Compute the spectra of the L frames that begin at `starts`: [bin, 2, lane]."""
    cut_at(padded, starts, half_window, buffer)
    fft(buffer, table)
    split(buffer, table, spectrum)


@compiled()
@no_type_check
def _slopes(now, past, n_bins, re, im):
    """Fill `re` and `im` [L] with D of L frames: the sum of B[k] conj(B[k - 1]) times the risen shares."""
    zero, one, factor = splat(_ZERO), splat(_ONE), splat(_RISE)
    total_re, total_im = zero, zero
    last_re, last_im = load(now, 0), load(now, LANES)
    for first in range(1, n_bins, 32):  # sums of sums: rounding errors of a thousand additions would move attacks
        sum_re, sum_im = zero, zero
        for k in range(first, min(first + 32, n_bins)):
            br, bi = load(now, k * STEP), load(now, k * STEP + LANES)
            ar, ai = load(past, k * STEP), load(past, k * STEP + LANES)
            power, threshold = fma(br, br, bi * bi), factor * fma(ar, ar, ai * ai)
            risen = one - threshold / power  # share of the bin's energy; not used where `power` is 0
            product_re, product_im = fma(br, last_re, bi * last_im), fma(bi, last_re, -(br * last_im))
            sum_re = sum_re + where_less(threshold, power, risen * product_re, zero)
            sum_im = sum_im + where_less(threshold, power, risen * product_im, zero)
            last_re, last_im = br, bi
        total_re, total_im = total_re + sum_re, total_im + sum_im
    store(re, 0, total_re)
    store(im, 0, total_im)


@compiled()
@no_type_check
def _to_planes(spectrum, planes, n_bins):
    """Transpose L spectra [bin, 2, lane] to [lane, 2, bin]."""
    for k in range(0, n_bins, LANES):
        transpose(spectrum, k * STEP, STEP, planes, k, 2 * n_bins)
        transpose(spectrum, k * STEP + LANES, STEP, planes, k + n_bins, 2 * n_bins)


@compiled()
@no_type_check
def _to_spectrum(planes, spectrum, n_bins):
    """Transpose L frames [lane, 2, bin] to [bin, 2, lane]."""
    for k in range(0, n_bins, LANES):
        transpose(planes, k, 2 * n_bins, spectrum, k * STEP, STEP)
        transpose(planes, k + n_bins, 2 * n_bins, spectrum, k * STEP + LANES, STEP)


@compiled()
@no_type_check
def _stretch(samples, starts, past_starts, late, slope, hop, first, tables, table, limits, scratch, out):
    n_fft, n_frames = len(tables.window), len(late)
    n_bins, n = n_fft // 2 + 1, len(scratch.turned) // 2
    re, im = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    padded, total, rotation = scratch.padded, scratch.total, scratch.rotation
    padded[:n_fft] = _ZERO
    padded[n_fft : n_fft + len(samples)] = samples
    padded[n_fft + len(samples) :] = _ZERO
    total[:] = _ZERO
    rotation[:] = _ZERO
    scratch.past[n_bins * STEP :] = _ZERO
    spare = len(total) - n_fft
    for group in range(0, n_frames, LANES):
        scratch.now[n_bins * STEP :] = _ZERO  # Y was written there
        _transform(padded, starts[group : group + LANES], tables.half_window, table, scratch.buffer, scratch.now)
        _transform(padded, past_starts[group : group + LANES], tables.half_window, table, scratch.buffer, scratch.past)
        _slopes(scratch.now, scratch.past, n_bins, re, im)
        _to_planes(scratch.now, scratch.now_planes, n)
        _to_planes(scratch.past, scratch.past_planes, n)
        for lane in range(min(LANES, n_frames - group)):
            now = scratch.now_planes[lane * 2 * n : (lane + 1) * 2 * n]
            past = scratch.past_planes[lane * 2 * n : (lane + 1) * 2 * n]
            if group + lane == 0:
                scratch.turned[:] = now
                continue
            delay = 0.0
            if math.hypot(re[lane], im[lane]) > limits[1]:  # minus, as the phases are those at the frame's first sample
                delay = -math.atan2(-im[lane], -re[lane]) * n_fft / (2 * math.pi)
            shift = late[group + lane] + delay * slope
            powers(-2 * math.pi * shift / n_fft, n, scratch.phasor)
            rotations(scratch.turned, now, past, scratch.phasor, n, rotation)
            smooth_and_turn(rotation, tables.is_near, now, n, limits, scratch.turned)
        _to_spectrum(scratch.now_planes, scratch.now, n)
        join(scratch.now, table, scratch.buffer)
        fft(scratch.buffer, table)
        to = group * hop
        add_frames(scratch.buffer, table.places, tables.window, total, to, hop, n_frames - 1 - group, spare - to)
    begin = first * hop - n_fft // 2  # of the first frame, in output samples
    silent = min(max(begin, 0), len(out))
    out[:silent] = _ZERO
    out[silent:] = total[silent - begin : len(out) - begin]
    divide_by_windows(out, tables.window, hop, first, first + n_frames)


def scratch_size(n_samples: int, n_frames: int, n_fft: int, hop: int) -> int:
    """Return how many numbers `stretch` needs for intermediate results."""
    return sum(_sizes(n_samples, n_frames, n_fft, hop))


def tables(window: np.ndarray, half_widths: np.ndarray) -> Tables:
    """Return the tables for a window [n_fft] and the half width of the smoothing for each bin."""
    n = width(len(window))
    wide = np.pad(half_widths, (0, n - len(half_widths)), mode="edge")
    is_near = (wide >= np.arange(1, constants.WIDEST + 1)[:, None]).astype(np.float32)
    return Tables(window, window * np.float32(0.5), is_near.ravel())


def stretch(
    samples: np.ndarray,
    centres: np.ndarray,
    hop: int,
    first: int,
    late: np.ndarray,
    slope: float,
    tables: Tables,
    limits: tuple[float, float, float],
    memory: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill `out` [length] with stretched `samples` [time], both contiguous float32.

    Parameters
    ----------
    centres : int64 [frame]
        The input sample that each output frame is centred on.
    hop, first : int
        Output frame i is centred on output sample ``(first + i) * hop``.
    late : float64 [frame]
    slope : float
        An onset d samples after a frame's centre belongs ``late + slope * d`` samples later.
    limits : 3 numbers
        Smallest |S| and |D| that have a phase, and smallest |S| / M for which a bin keeps its level.
    memory : float32
        At least `scratch_size` numbers, with arbitrary contents.
    """
    n_fft, table = len(tables.window), plan(len(tables.window))
    if not samples.flags.carray:  # strided or read-only, for which the kernel would be compiled again
        samples = samples.copy()
    arrays, end = [], 0
    for size in _sizes(len(samples), len(centres), n_fft, hop):
        arrays.append(memory[end : end + size])
        end += size
    n = -(-len(centres) // LANES) * LANES
    around = np.pad(centres, (0, n - len(centres)), mode="edge") + (n_fft - n_fft // 2)
    now, past = (np.clip(at, 0, len(samples) + n_fft) for at in (around, around - hop))  # outside there are only zeros
    _stretch(
        samples, now, past, late, slope, hop, first, tables, table, tuple(map(np.float32, limits)), _Scratch(*arrays),
        out,
    )  # fmt: skip
