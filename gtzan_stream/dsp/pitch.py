"""Pitch shift: resample and stretch, in the order that keeps the intermediate signal the shorter of the two."""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from gtzan_stream.dsp import resample as resampling
from gtzan_stream.dsp import stretch as stretching
from gtzan_stream.dsp.backend import backend, fill_rows
from gtzan_stream.dsp.parameters import per_example, to_device
from gtzan_stream.dsp.resample import resample, resample_row
from gtzan_stream.dsp.stretch import stretch_row, time_stretch
from gtzan_stream.shapes import Waveform


def pitch_shift(
    waveform: Waveform, n_steps: np.ndarray | float, length: int, *, offset: np.ndarray | float | None = None
) -> Float[Tensor, "batch {length}"]:
    """Shift the pitch of each example by its own number of semitones and keep its tempo.

    Parameters
    ----------
    waveform : Tensor [batch, time], float32 or float64
        Samples, full scale at +/-1; zero beyond its ends. Not modified.
    n_steps : array [batch] or number, semitones
        Any real number; 12 is an octave up.
    length : int
        Output samples.
    offset : array [batch] or number, samples, optional
        Input time of output sample 0, by default 0.

    Returns
    -------
    Tensor [batch, length]
        Same dtype and device.

    Raises
    ------
    ValueError
        If there is not one shift for each example, or a shift is not finite.

    Examples
    --------
    >>> import torch
    >>> tone = torch.sin(2 * torch.pi * 440 / 22050 * torch.arange(22050.0))
    >>> octave = pitch_shift(tone[None], 12.0, 22050)[0]
    >>> f"{torch.fft.rfft(octave).abs().argmax().item()} Hz"
    '880 Hz'
    """
    batch = len(waveform)
    factor = np.exp2(per_example(n_steps, batch, "n_steps", positive=False) / 12)
    offset = per_example(offset, batch, "offset", positive=False)
    if backend(waveform) == "numba":
        return _rows(waveform, factor, offset, length)
    output = waveform.new_empty(batch, length)
    for rows, shift in ((np.flatnonzero(factor > 1), _up), (np.flatnonzero(factor <= 1), _down)):
        if len(rows):
            chosen = to_device(rows, waveform.device)
            output.index_copy_(0, chosen, shift(waveform[chosen], factor[rows], offset[rows], length))
    return output


def _up(waveform: Tensor, factor: np.ndarray, offset: np.ndarray, length: int) -> Tensor:
    before, total = stretching.source(length, 1 / factor)
    before = _lead(before, offset / factor)
    higher = resample(waveform, factor, int(total.max()), offset=offset - before * factor)
    return time_stretch(higher, 1 / factor, length, offset=before)


def _down(waveform: Tensor, factor: np.ndarray, offset: np.ndarray, length: int) -> Tensor:
    before, total = resampling.source(length, factor)
    before = _lead(before, offset * factor)
    faster = time_stretch(waveform, 1 / factor, int(total.max()), offset=offset - before / factor)
    return resample(faster, factor, length, offset=before)


def _lead(before: np.ndarray, available: np.ndarray) -> np.ndarray:
    """Start the intermediate signal no earlier than the input: a vocoder that starts in silence blurs what follows."""
    return np.clip(np.floor(available), 0, before)


def _rows(waveform: Tensor, factor: np.ndarray, offset: np.ndarray, length: int) -> Tensor:
    up_before, up_total = stretching.source(length, 1 / factor)
    down_before, down_total = resampling.source(length, factor)
    lead = np.where(factor > 1, _lead(up_before, offset / factor), _lead(down_before, offset * factor))
    total = np.where(factor > 1, up_total, down_total)
    return fill_rows(_shift_row, waveform, length, factor, offset, lead, total)


def _shift_row(waveform: np.ndarray, factor: float, offset: float, lead: float, total: int, output: np.ndarray) -> None:
    """Fill `output` [length] by way of `total` samples in between, of which `lead` come before output sample 0."""
    between = np.empty(total, np.float32)
    if factor > 1:
        resample_row(waveform, factor, offset - lead * factor, between)
        stretch_row(between, 1 / factor, lead, output)
    else:
        stretch_row(waveform, 1 / factor, offset - lead / factor, between)
        resample_row(between, factor, lead, output)


def source(length: int | np.ndarray, n_steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell which input samples `pitch_shift` needs so that the output has no edge effects.

    Parameters
    ----------
    length : int or array [batch]
        Output samples wanted.
    n_steps : array [batch]

    Returns
    -------
    before : int64 array [batch]
        Samples needed before the input time of output sample 0; give it to `pitch_shift` as `offset`.
    total : int64 array [batch]
        Samples needed in all.
    """
    factor = np.exp2(np.asarray(n_steps) / 12)
    up = factor > 1
    stretch_before, stretch_total = stretching.source(length, 1 / factor)
    margin = resampling.reach(factor)
    up_before = np.ceil(stretch_before * factor).astype(np.int64) + margin
    up_total = np.ceil(stretch_total * factor).astype(np.int64) + 2 * margin + 1
    resample_before, resample_total = resampling.source(length, factor)
    inner_before, inner_total = stretching.source(resample_total, 1 / factor)
    ahead = np.ceil(resample_before / factor).astype(np.int64)
    return np.where(up, up_before, inner_before + ahead), np.where(up, up_total, inner_total + 1)
