"""Pitch shift: resample by a frequency ratio, and stretch the time back.

A shift by n semitones multiplies all frequencies by ``ratio = 2 ** (n / 12)``. Resampling at rate `ratio` does that and
makes the sound `ratio` times shorter; stretching at rate ``1 / ratio`` gives it its old duration. Both orders are
correct. The one with the shorter intermediate signal is used, so that large shifts do not cost more than small ones:

    up   (ratio > 1):   resample at `ratio`, to length / ratio samples,   then stretch at 1 / ratio, to length samples
    down (ratio <= 1):  stretch at 1 / ratio, to length * ratio samples,  then resample at `ratio`, to length samples

The second step needs extra intermediate samples on both sides. Its `source` returns how many it needs before output
sample 0 (`wanted`) and in total (`total`). The intermediate signal starts `preroll` samples before output sample 0, so
its own sample 0 corresponds to input time

    up:    offset - preroll * ratio           second step: stretch, offset = preroll
    down:  offset - preroll / ratio           second step: resample, offset = preroll

``preroll = wanted`` would begin in the silence before the input if `offset` is small. The phase vocoder would then
take its initial phases from silence and blur what follows. So the preroll is limited to the samples that exist,
``offset / ratio`` (up) or ``offset * ratio`` (down), rounded down.

Example: 12 semitones up, length 20,000, ratio 2. The stretch at rate 1/2 wants 1,280 samples before and needs 13,312 in
all; the resampler makes these at rate 2 from 26,624 input samples and 64 more on each side.
"""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from gtzan_stream.dsp import resample as resampling
from gtzan_stream.dsp import stretch as stretching
from gtzan_stream.dsp.backend import backend, fill_rows
from gtzan_stream.dsp.parameters import per_example, to_device
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
        Any finite number; 12 is an octave up.
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
        If the number of shifts is neither 1 nor `batch`, or a shift is not finite.

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
    ratio = np.exp2(steps / 12)
    offset = per_example(offset, batch, "offset", positive=False)
    if backend(waveform) == "numba":

        def fill(samples: np.ndarray, n_steps: float, offset: float, output: np.ndarray) -> None:
            shift_row(samples, n_steps, offset, output, method=method)

        return fill_rows(fill, waveform, length, steps, offset)
    output = waveform.new_empty(batch, length)
    for rows, shift in ((np.flatnonzero(ratio > 1), _shift_up), (np.flatnonzero(ratio <= 1), _shift_down)):
        if len(rows):
            chosen = to_device(rows, waveform.device)
            output.index_copy_(0, chosen, shift(waveform[chosen], ratio[rows], offset[rows], length, method))
    return output


def _shift_up(waveform: Tensor, ratio: np.ndarray, offset: np.ndarray, length: int, method: str) -> Tensor:
    wanted, total = stretching.source(length, 1 / ratio, method=method)
    preroll = _limit_preroll(wanted, offset / ratio)
    higher = resample(waveform, ratio, int(total.max()), offset=offset - preroll * ratio)
    return time_stretch(higher, 1 / ratio, length, offset=preroll, method=method)


def _shift_down(waveform: Tensor, ratio: np.ndarray, offset: np.ndarray, length: int, method: str) -> Tensor:
    wanted, total = resampling.source(length, ratio)
    preroll = _limit_preroll(wanted, offset * ratio)
    start = offset - preroll / ratio
    faster = time_stretch(waveform, 1 / ratio, int(total.max()), offset=start, method=method)
    return resample(faster, ratio, length, offset=preroll)


def _limit_preroll(wanted: np.ndarray, available: np.ndarray) -> np.ndarray:
    """Limit the preroll to whole intermediate samples that the input has before output sample 0."""
    return np.clip(np.floor(available), 0, wanted)


def shift_row(
    samples: np.ndarray, n_steps: float, offset: float, output: np.ndarray, *, method: str = "locked"
) -> None:
    """Fill `output` [length] with the shifted `samples` [time], float32, on this thread."""
    ratio = np.exp2(np.array([n_steps]) / 12)
    speed, is_up, length = ratio.item(), ratio.item() > 1, len(output)
    if is_up:
        wanted, total = stretching.source(length, 1 / ratio, method=method)
    else:
        wanted, total = resampling.source(length, ratio)
    preroll = _limit_preroll(wanted, offset / ratio if is_up else offset * ratio).item()
    with borrowed(total.item(), np.float32) as intermediate:
        if is_up:
            resample_row(samples, speed, offset - preroll * speed, intermediate)
            stretch_row(intermediate, 1 / speed, preroll, output, method=method)
        else:
            stretch_row(samples, 1 / speed, offset - preroll / speed, intermediate, method=method)
            resample_row(intermediate, speed, preroll, output)


def source(length: int | np.ndarray, n_steps: np.ndarray, *, method: str = "locked") -> tuple[np.ndarray, np.ndarray]:
    """Compute which input samples `pitch_shift` needs so that the output has no edge effects.

    The second step's needs, in intermediate samples, are multiplied (up) or divided (down) by `ratio` to get input
    samples, and the first step's own needs are added. `before` is rounded up, so the samples that the first step reads
    begin up to one sample later: the ``+ 1`` in the totals covers that.

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
    filter_width = resampling.half_width(ratio)
    stretch_before, stretch_total = stretching.source(length, 1 / ratio, method=method)
    up_before = np.ceil(stretch_before * ratio).astype(np.int64) + filter_width
    up_total = np.ceil(stretch_total * ratio).astype(np.int64) + 2 * filter_width + 1
    resample_before, resample_total = resampling.source(length, ratio)
    down_before, down_total = stretching.source(resample_total, 1 / ratio, method=method)
    down_before = down_before + np.ceil(resample_before / ratio).astype(np.int64)
    is_up = ratio > 1
    return np.where(is_up, up_before, down_before), np.where(is_up, up_total, down_total + 1)
