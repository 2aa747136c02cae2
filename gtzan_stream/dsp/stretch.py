"""Time stretch by a phase vocoder with a rate for each example and no trigonometric function.

The vocoder turns each bin by the phase difference of neighbouring frames. Wrapping that difference around the
analysis hop's expected advance changes it by whole turns only, so the output phase is a running product of unit
phasors, ``conj(X[t]) / |X[t]| * X[t + 1] / |X[t + 1]|``, and the expected advance cancels.
"""

import math

import numpy as np
import scipy.fft
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from gtzan_stream.dsp import safe
from gtzan_stream.dsp.backend import backend, fill_rows
from gtzan_stream.dsp.parameters import per_example, to_device
from gtzan_stream.dsp.stft import BLOCK, frames_reaching, hann, overlap_add, stft
from gtzan_stream.kernels import constants
from gtzan_stream.shapes import Spectrogram, Waveform

N_FFT = 2048
HOP = 512
SILENCE = math.sqrt(constants.SILENT_POWER)
"""Magnitude up to which a bin is silent, so that its phase counts as 0."""


def time_stretch(
    waveform: Waveform, rate: np.ndarray | float, length: int, *, offset: np.ndarray | float | None = None
) -> Float[Tensor, "batch {length}"]:
    """Change the tempo of each example by its own rate and keep its pitch.

    Output sample ``o`` comes from input time ``offset + o * rate``; where that is outside the input, it is zero.

    Parameters
    ----------
    waveform : Tensor [batch, time], float32 or float64
        Samples, full scale at +/-1. Not modified.
    rate : array [batch] or number, above 0
        Above 1 is faster.
    length : int
        Output samples.
    offset : array [batch] or number, samples, optional
        Input time of output sample 0. With zero, the default, and ``length = round(time / rate)`` the result is
        ``librosa.effects.time_stretch(waveform, rate=rate)``; samples after those are zero. With the first value
        of `source`, the output has no edge effects.

    Returns
    -------
    Tensor [batch, length]
        Same dtype and device.

    Raises
    ------
    ValueError
        If there is not one rate for each example, or a rate is not above zero.

    References
    ----------
    .. [1] J. L. Flanagan and R. M. Golden, "Phase vocoder", Bell System Technical Journal, 1966.
    .. [2] J. Laroche and M. Dolson, "Improved phase vocoder time-scale modification of audio", IEEE Transactions on
           Speech and Audio Processing, 1999.

    Examples
    --------
    >>> tone = torch.sin(2 * torch.pi * 441 / 22050 * torch.arange(22050.0))
    >>> faster = time_stretch(tone[None], 2.0, 11025)[0]
    >>> peak = torch.fft.rfft(faster).abs().argmax().item()
    >>> f"{peak * 22050 / 11025:.0f} Hz in {len(faster) / 22050} s"
    '440 Hz in 0.5 s'
    """
    batch = len(waveform)
    rate = per_example(rate, batch, "rate")
    offset = per_example(offset, batch, "offset", positive=False)
    if backend(waveform) == "numba":
        return fill_rows(stretch_row, waveform, length, rate, offset)
    return _batch(waveform, rate, offset, length)


def source(length: int | np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell which input samples `time_stretch` needs so that the output has no edge effects.

    Parameters
    ----------
    length : int or array [batch]
        Output samples wanted.
    rate : array [batch]

    Returns
    -------
    before : int64 array [batch]
        Samples needed before the input time of output sample 0; give it to `time_stretch` as `offset`.
    total : int64 array [batch]
        Samples needed in all.
    """
    before = np.ceil(N_FFT // 2 + HOP * np.asarray(rate)).astype(np.int64)
    last = (np.asarray(length) + N_FFT // 2 - 2) // HOP * HOP  # centre of the last output frame
    total = np.ceil(before + last * np.asarray(rate)).astype(np.int64) + HOP + N_FFT // 2
    return before, total


def _batch(waveform: Tensor, rate: np.ndarray, offset: np.ndarray, length: int) -> Tensor:
    n_before = int((offset != 0).any())  # the frame centred before sample 0 reaches it too
    n_frames = n_before + frames_reaching(length, N_FFT, HOP)
    per_row = np.stack([rate, offset / HOP, *inside(waveform.shape[1], rate, offset)])
    rates, offsets, *ends = to_device(per_row, waveform.device)
    hops = torch.arange(-n_before, n_frames - n_before, dtype=torch.float64, device=waveform.device)
    position = hops * rates[:, None] + offsets[:, None]  # [batch, frame], in input frames
    spectrogram = stft(waveform, N_FFT, HOP)
    alive = (position >= 0) & (position < spectrogram.shape[2])
    if backend(waveform) == "triton":
        from gtzan_stream.kernels import triton_stretch

        vocoded = triton_stretch.vocode(spectrogram.transpose(1, 2), position).transpose(1, 2)
    else:
        vocoded = _vocode(spectrogram, position, alive)
    return overlap_add(vocoded, alive, torch.stack(ends, dim=1).long(), length, HOP, n_before=n_before)


def inside(time: int, rate: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the first output sample of each example whose input time is inside `time` samples, and the first after."""
    return np.ceil(-offset / rate).astype(np.int64), np.rint((time - offset) / rate).astype(np.int64)


def _vocode(spectrogram: Spectrogram, position: Tensor, alive: Tensor) -> Tensor:
    """Read [batch, freq, frame] at fractional frames [batch, frame]; those not `alive` are zero."""
    left = position.clamp(0, spectrogram.shape[2] - 1).floor()
    alpha = torch.where(alive, position - left, 0.0)[:, None].to(spectrogram.real.dtype)
    left = left.long()[:, None]
    padded = functional.pad(spectrogram, (0, 1))
    magnitude = padded.abs()
    unit = safe.ratio(padded, magnitude, magnitude > SILENCE, 1.0)

    def at(values: Tensor, frame: Tensor) -> Tensor:
        return values.gather(2, frame.expand(-1, values.shape[1], -1))

    turn = torch.where(alive[:, None], at(unit, left).conj() * at(unit, left + 1), 1.0)
    start = at(unit, left[:, :, :1])
    phase = torch.cat([start, turn[:, :, :-1]], dim=2).cumprod(dim=2)
    phase = phase / phase.abs()
    level = torch.lerp(at(magnitude, left), at(magnitude, left + 1), alpha.expand(-1, magnitude.shape[1], -1))
    return torch.where(alive[:, None], level * phase, 0.0)


def stretch_row(waveform: np.ndarray, rate: float, offset: float, output: np.ndarray) -> None:
    """Fill `output` [length] with the stretched `waveform` [time], block of frames by block, on this thread."""
    from gtzan_stream.kernels import numba_stft, numba_stretch

    n_frames, n_before, n_freq = 1 + len(waveform) // HOP, int(offset != 0), N_FFT // 2 + 1
    window = hann(N_FFT, torch.float32, torch.device("cpu")).numpy()
    hops = np.arange(-n_before, frames_reaching(len(output), N_FFT, HOP))
    position = hops * rate + offset / HOP
    alive = np.flatnonzero((position >= 0) & (position < n_frames))

    def spectrum(first: int, last: int) -> np.ndarray:  # [frame, freq], silent from frame `n_frames` on
        frames = np.empty((last - first, N_FFT), np.float32)
        numba_stft.cut(waveform, window, HOP, first, frames)
        frames[max(n_frames - first, 0) :] = 0
        return scipy.fft.rfft(frames, workers=1)

    output[:] = 0
    if not len(alive):
        return
    start = int(min(max(position[0], 0), n_frames - 1))
    phase = spectrum(start, start + 1)[0]
    heard = np.abs(phase) > SILENCE
    with np.errstate(invalid="ignore"):  # of infinite samples
        phase = np.where(heard, phase, 1) / np.where(heard, np.abs(phase), 1)
    phase = np.stack([phase.real, phase.imag]).astype(np.float32)
    vocoded = np.empty((BLOCK, n_freq), np.complex64)
    for begin in range(0, len(alive), BLOCK):
        here = alive[begin : begin + BLOCK]
        first = int(position[here[0]])
        source = spectrum(first, int(position[here[-1]]) + 2)
        block = vocoded[: len(here)]
        numba_stretch.vocode(source.view(np.float32), position[here] - first, phase, block.view(np.float32))
        numba_stft.add(scipy.fft.irfft(block, N_FFT, workers=1), window, HOP, int(hops[here[0]]), output)
    numba_stft.normalise(output, window, HOP, int(hops[alive[0]]), int(hops[alive[-1]]) + 1)
    (head,), (tail,) = inside(len(waveform), np.array([rate]), np.array([offset]))
    output[: max(head, 0)] = 0
    output[max(tail, 0) :] = 0
