"""Pitch shift: stretch the time, and resample to the old duration.

A shift by n semitones multiplies all frequencies by ``ratio = 2 ** (n / 12)``. A stretch at rate ``1 / ratio`` makes
the sound `ratio` times as long, and resampling at rate `ratio` gives it its old duration, with all frequencies
multiplied.

The other order is possible, too, and cheaper upwards, where the signal in between is the shorter one. But frames of
2,048 samples resolve what is in the sound only if they are taken before its frequencies change: two partials 25 Hz
apart that are shifted down first come so close that the stretch blurs them. Upwards, frames that are resampled
afterwards become shorter, and attacks sharper.

Resampling needs some samples of the stretched signal on both sides. Its `source` returns how many it needs before
output sample 0 (`wanted`) and in total. The stretched signal starts `preroll` samples before output sample 0, at input
time ``offset - preroll / ratio``. ``preroll = wanted`` would begin in the silence before the input if `offset` is
small, and the stretch would take its first phases from there. So the preroll is limited to the samples that exist,
``offset * ratio``, rounded down.

Example: 12 semitones up, length 20,000, ratio 2. Resampling at rate 2 needs 114 samples on each side, so the stretch at
rate 1/2 makes 40,228 samples from about 22,000 of the input.
"""

from functools import partial

import numpy as np
from jaxtyping import Float
from torch import Tensor

from gtzan_stream.dsp import resample as resampling
from gtzan_stream.dsp import stretch as stretching
from gtzan_stream.dsp.backend import backend, fill_rows
from gtzan_stream.dsp.parameters import per_example
from gtzan_stream.dsp.resample import resample, resample_row
from gtzan_stream.dsp.scratch import borrowed
from gtzan_stream.dsp.stretch import stretch_row, time_stretch
from gtzan_stream.shapes import Waveform


def pitch_shift(
    waveform: Waveform,
    n_steps: np.ndarray | float,
    length: int,
    *,
    offset: np.ndarray | float | None = None,
    method: str = "locked",
) -> Float[Tensor, "batch {length}"]:
    """Shift the pitch of each example by its own number of semitones and keep its tempo.

    Parameters
    ----------
    waveform : Tensor [batch, time], float32 or float64
        Samples, full scale at +/-1; zero beyond its ends. Not modified.
    n_steps : array [batch] or number, semitones
        12 is an octave up. The stretched signal has ``2 ** (n_steps / 12)`` times the samples.
    length : int
        Output samples.
    offset : array [batch] or number, samples, optional
        Input time of output sample 0, by default 0.
    method : {"locked", "vocoder"}
        How `time_stretch` stretches.

    Returns
    -------
    Tensor [batch, length]
        Same dtype and device.

    Raises
    ------
    ValueError
        If the number of shifts is neither 1 nor `batch`, a shift is not finite, or there is no such method.

    Examples
    --------
    >>> import torch
    >>> tone = torch.sin(2 * torch.pi * 440 / 22050 * torch.arange(22050.0))
    >>> octave = pitch_shift(tone[None], 12.0, 22050)[0]
    >>> f"{torch.fft.rfft(octave).abs().argmax().item()} Hz"
    '880 Hz'
    """
    batch = len(waveform)
    steps = per_example(n_steps, batch, "n_steps", positive=False)
    offset = per_example(offset, batch, "offset", positive=False)
    if not batch:
        return waveform.new_empty(0, length)
    if backend(waveform) == "numba":
        return fill_rows(partial(shift_row, method=method), waveform, length, steps, offset)
    ratio = np.exp2(steps / 12)
    preroll, total = _preroll(length, ratio, offset)
    stretched = time_stretch(waveform, 1 / ratio, int(total.max()), offset=offset - preroll / ratio, method=method)
    return resample(stretched, ratio, length, offset=preroll)


def shift_row(
    samples: np.ndarray, n_steps: float, offset: float, output: np.ndarray, *, method: str = "locked"
) -> None:
    """Fill `output` [length] with the shifted `samples` [time], float32, on this thread."""
    ratio = np.exp2(n_steps / 12)
    (preroll,), (total,) = _preroll(len(output), np.array([ratio]), np.array([offset]))
    with borrowed(int(total), np.float32) as stretched:
        stretch_row(samples, 1 / ratio, offset - preroll / ratio, stretched, method=method)
        resample_row(stretched, ratio, preroll, output)


def _preroll(length: int, ratio: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the stretched samples before output sample 0, whole numbers, and in total: [batch]."""
    wanted, total = resampling.source(length, ratio)
    return np.clip(np.floor(offset * ratio), 0, wanted), total


def source(length: int | np.ndarray, n_steps: np.ndarray, *, method: str = "locked") -> tuple[np.ndarray, np.ndarray]:
    """Compute which input samples `pitch_shift` needs so that the output has no edge effects.

    What resampling needs before output sample 0 is divided by `ratio` to get input samples, and what the stretch needs
    is added. `before` is rounded up, so the samples that the stretch reads begin up to one sample later: the ``+ 1`` in
    the total covers that.

    Parameters
    ----------
    length : int or array [batch]
        Output samples wanted.
    n_steps : array [batch]
    method : {"locked", "vocoder"}

    Returns
    -------
    before : int64 array [batch]
        Samples needed before the input time of output sample 0. Pass it to `pitch_shift` as `offset`.
    total : int64 array [batch]
        Samples needed in all.
    """
    ratio = np.exp2(np.asarray(n_steps) / 12)
    resample_before, resample_total = resampling.source(length, ratio)
    before, total = stretching.source(resample_total, 1 / ratio, method=method)
    return before + np.ceil(resample_before / ratio).astype(np.int64), total + 1
