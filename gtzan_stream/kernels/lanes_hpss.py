"""The percussive part of one row of samples, L frames side by side.

`gtzan_stream.dsp.hpss` has the formula. Only squares of the magnitudes S are needed: the median of squares is the
square of the median, so the mask with power 2 is ``P^2 / (P^2 + (margin * H)^2)`` of medians of squares.

Frames are in groups of L, and a group is always in lanes (`gtzan_stream.kernels.vector`): bin k of its L frames is one
vector of real parts and one of imaginary parts of `spectra`, and one vector of `squares`. With L = 4:

                     lane  0   1   2   3                           lane  0   1   2   3
    group 0, bin 0   frame 0   1   2   3          group 1, bin 0   frame 4   5   6   7
             bin 1   frame 0   1   2   3                   bin 1   frame 4   5   6   7
             bin 2   frame 0   1   2   3                   bin 2   frame 4   5   6   7

1. `_analyse`, for each group:    samples -> cut, fft, split -> spectra -> squares -> P^2, its medians down the bins
2. `_harmonic`, for each L bins:  squares -> transposed, one row a frame -> medians down the frames -> transposed -> H^2
3. `_synthesise`, for each group: spectra times mask -> join, fft -> transposed -> added to the output

The rows of a group are one below the other, as medians take them (`gtzan_stream.kernels.lanes_median`), so only the
harmonic part needs a transposition. H^2 replaces the squares.
"""

from typing import NamedTuple, no_type_check

import numpy as np

from gtzan_stream.kernels.compiled import compiled
from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.lanes_fft import STEP, Plan, fft, plan
from gtzan_stream.kernels.lanes_frames import add_frames, cut
from gtzan_stream.kernels.lanes_median import LARGEST, rows_needed, running_median
from gtzan_stream.kernels.lanes_rfft import join, split
from gtzan_stream.kernels.numba_stft import divide_by_windows
from gtzan_stream.kernels.vector import fma, load, splat, store, where_less
from gtzan_stream.kernels.vector_blocks import transpose

_TINY, _ZERO = np.finfo(np.float32).tiny, np.float32(0)
_LARGEST_MARGIN = 1e19  # its square is a float32


class _Scratch(NamedTuple):
    """Intermediate results, float32: of all frames, with the sizes of `_sizes`."""

    waveform: np.ndarray  # the samples between zeros; later the sum of the output's frames
    buffer: np.ndarray  # one group in the FFT
    rows: np.ndarray  # L bins, one row a frame
    spectra: np.ndarray  # [group, bin, 2, lane]
    squares: np.ndarray  # [group, bin, lane], the bins rounded up to a multiple of L
    medians: np.ndarray  # [group, row, lane], rows for the medians down the bins


def _sizes(n_samples: int, n_fft: int, size: int) -> tuple[int, ...]:
    """Return the sizes of the arrays of `_Scratch`, multiples of a cache line."""
    hop, n_bins, n_frames = n_fft // 4, n_fft // 2 + 1, 1 + n_samples // (n_fft // 4)
    n_groups = -(-n_frames // LANES)
    rows = max(rows_needed(n_frames, size), size // 2 + n_groups * LANES)
    sizes = (
        (n_groups * LANES - 1) * hop + 2 * n_fft,  # all frames, and one for those that do not exist
        n_fft * LANES,
        rows * LANES,
        n_groups * n_bins * STEP,
        n_groups * -(-n_bins // LANES) * LANES * LANES,
        n_groups * rows_needed(n_bins, size) * LANES,
    )
    return tuple(-(-size // 16) * 16 for size in sizes)


@compiled()
@no_type_check
def _write_squares(spectrum, squares, rows, n_bins):
    """Write the squared magnitudes of L spectra to `squares` and to `rows`."""
    for k in range(n_bins):
        re, im = load(spectrum, k * STEP), load(spectrum, k * STEP + LANES)
        square = fma(re, re, im * im)
        store(squares, k * LANES, square)
        store(rows, k * LANES, square)


@compiled(inline="always")
@no_type_check
def _analyse(samples, window, table, taps, scratch, n_groups, first, last):
    """Compute spectra and squares of all frames, and medians down the bins of the groups `first` to ``last - 1``."""
    n_fft, n, half = len(window), len(samples), len(taps) // 2
    hop, n_bins, padding = n_fft // 4, n_fft // 2 + 1, n_fft // 2
    waveform, spectra, squares, medians = scratch.waveform, scratch.spectra, scratch.squares, scratch.medians
    spectrum, square, median = len(spectra) // n_groups, len(squares) // n_groups, len(medians) // n_groups
    for i in range(len(waveform)):
        waveform[i] = samples[i - padding] if i >= padding and i < padding + n else _ZERO
    for group in range(n_groups):
        frame = group * LANES
        cut(waveform, frame * hop, hop, n // hop - frame, window, scratch.buffer)
        fft(scratch.buffer, table)
        own = spectra[group * spectrum : (group + 1) * spectrum]
        split(scratch.buffer, table, own)
        rows = medians[group * median : (group + 1) * median]
        _write_squares(own, squares[group * square :], rows[half * LANES :], n_bins)
        if first <= group and group < last:
            running_median(rows, LANES, n_bins, taps)


@compiled(inline="always")
@no_type_check
def _harmonic(squares, n_frames, taps, rows, n_groups, first, last):
    """Replace the squares of groups `first` to ``last - 1`` by medians along time."""
    half, size = len(taps) // 2, len(squares) // n_groups
    for k in range(0, size, LANES * LANES):
        for group in range(n_groups):
            transpose(squares, group * size + k, LANES, rows, (half + group * LANES) * LANES, LANES)
        running_median(rows, LANES, n_frames, taps)
        for group in range(first, last):
            transpose(rows, group * LANES * LANES, LANES, squares, group * size + k, LANES)


@compiled()
@no_type_check
def _mask(spectrum, percussive, harmonic, n_bins, margin, silent_mask):
    """Multiply L spectra by their masks. The medians are those of squares, and `margin` is squared, too."""
    tiny, factor, otherwise = splat(_TINY), splat(margin), splat(silent_mask)
    for k in range(n_bins):
        p = load(percussive, k * LANES)
        total = fma(factor, load(harmonic, k * LANES), p)
        gain = where_less(total, tiny, otherwise, p / total)
        for part in (k * STEP, k * STEP + LANES):
            store(spectrum, part, load(spectrum, part) * gain)


@compiled(inline="always")
@no_type_check
def _synthesise(window, table, scratch, n_frames, n_groups, first, last, margin, silent_mask):
    """Fill `scratch.waveform` with the sum of the frames of groups `first` to ``last - 1`` times their masks."""
    waveform, spectra, squares, medians = scratch.waveform, scratch.spectra, scratch.squares, scratch.medians
    spectrum, square, median = len(spectra) // n_groups, len(squares) // n_groups, len(medians) // n_groups
    n_fft = len(window)
    hop, spare = n_fft // 4, len(waveform) - n_fft
    for i in range(len(waveform)):
        waveform[i] = _ZERO
    for group in range(first, last):
        own = spectra[group * spectrum : (group + 1) * spectrum]
        _mask(own, medians[group * median :], squares[group * square :], n_fft // 2 + 1, margin, silent_mask)
        join(own, table, scratch.buffer)
        fft(scratch.buffer, table)
        to = group * LANES * hop
        add_frames(scratch.buffer, table.places, window, waveform, to, hop, n_frames - 1 - group * LANES, spare - to)


@compiled()
@no_type_check
def _percussive(samples, before, windows, table, taps, margin, silent_mask, scratch, out):
    window, half_window = windows
    n_fft = len(window)
    hop, n_frames = n_fft // 4, 1 + len(samples) // (n_fft // 4)
    n_groups = (n_frames + LANES - 1) // LANES
    # Groups `first` to `last` - 1 have the frames that cover an output sample.
    first = max(before - n_fft // 2 + hop, 0) // (hop * LANES)
    last = min((before + len(out) + n_fft // 2 - 2) // (hop * LANES) + 1, n_groups)
    _analyse(samples, half_window, table, taps, scratch, n_groups, first, last)
    _harmonic(scratch.squares, n_frames, taps, scratch.rows, n_groups, first, last)
    _synthesise(window, table, scratch, n_frames, n_groups, first, last, margin, silent_mask)
    hops, skipped = before // hop, before % hop
    begin = n_fft // 2 + hops * hop
    result = scratch.waveform[begin : begin + skipped + len(out)]
    divide_by_windows(result, window, hop, -hops, n_frames - hops)
    for i in range(len(out)):
        out[i] = result[skipped + i]


def can_compute(n_fft: int, kernel_size: int, power: float) -> bool:
    """Return whether `percussive` has kernels for these settings: a hop, a quarter of n_fft, is to be at least L."""
    return power == 2 and kernel_size <= LARGEST and n_fft >= 64 and n_fft % 16 == 0 and plan(n_fft) is not None


def scratch_size(n_samples: int, n_fft: int, kernel_size: int) -> int:
    """Return how many numbers `percussive` needs for intermediate results."""
    return sum(_sizes(n_samples, n_fft, kernel_size))


def percussive(
    samples: np.ndarray,
    before: int,
    windows: tuple[np.ndarray, np.ndarray],
    kernel_size: int,
    margin: float,
    memory: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill `out` with samples from `before` on of the percussive part of `samples` [time], both contiguous float32.

    Parameters
    ----------
    samples, before, kernel_size, margin, out
        As in `gtzan_stream.dsp.hpss.percussive_row`, for which `can_compute` is true.
    windows : two float32 [n_fft]
        The window, and the window times 1/2, which is the factor that `split` leaves out.
    memory : float32
        At least ``scratch_size(len(samples), n_fft, kernel_size)`` numbers, with arbitrary contents.
    """
    if not samples.flags.carray:  # strided or read-only, for which the kernel would be compiled again
        samples = samples.copy()
    n_fft = len(windows[0])
    table: Plan | None = plan(n_fft)
    arrays, end = [], 0
    for size in _sizes(len(samples), n_fft, kernel_size):
        arrays.append(memory[end : end + size])
        end += size
    numbers = np.float32(min(margin, _LARGEST_MARGIN) ** 2), np.float32(0.5 if margin == 1 else 0)
    _percussive(samples, before, windows, table, (None,) * kernel_size, *numbers, _Scratch(*arrays), out)
