"""Time stretch by a phase vocoder with a rate for each example and no trigonometric function.

Input frame t of the STFT X is centred on input sample ``t * HOP``. Output frame k is centred on output sample
``k * HOP`` and reads the input at a fractional frame, its position:

    position[k] = offset / HOP + k * rate          at rate 1.5 and offset 0: 0, 1.5, 3, 4.5, ...

With ``t = floor(position[k])`` and ``alpha = position[k] - t``, bin f of output frame k is ``M[f, k] * P[f, k]``:

    M[f, k]     = (1 - alpha) * |X[f, t]| + alpha * |X[f, t + 1]|       magnitude: interpolated
    P[f, k + 1] = P[f, k] * conj(U[f, t]) * U[f, t + 1]                 phase: accumulated, as a unit phasor
    U[f, t]     = X[f, t] / |X[f, t]|, or 1 if the bin is silent

P starts as the phase U[f, t] of the first output frame. At rate 1 and offset 0 the product telescopes to
``P[f, k] = U[f, k]``, and the output is the input.

The textbook vocoder accumulates an angle: it takes the phase difference of frames t and t + 1, subtracts the advance
expected of the bin's centre frequency, wraps the rest to +/- pi and adds the expected advance again. Wrapping changes
an angle by whole turns only, and input and output have the same hop, so the expected advance cancels and the phase
difference itself remains. ``conj(U[t]) * U[t + 1]`` has that angle, so no atan2, sin or cos is needed. Rounding errors
accumulate in ``|P|``, so P is scaled back to length 1.

An output frame is valid if ``0 <= position < number of input frames``. An invalid frame is zero, leaves the phase as it
is and does not count in the overlap-add's sum of squared windows.

The recursion is sequential over frames and independent for each bin, so all versions keep the bins of a frame side by
side in memory ([frame, freq]) and vectorise over them. The phase is accumulated in three places, one for each backend:
`_vocode` here (a cumulative product), `kernels.numba_vocoder.vocode` and `kernels.triton_vocoder._vocode` (loops).
"""

import math

import numpy as np
import scipy.fft
import torch
from torch import Tensor
from torch.nn import functional

from gtzan_stream.dsp import safe
from gtzan_stream.dsp.backend import backend
from gtzan_stream.dsp.fft import empty_spectrum
from gtzan_stream.dsp.parameters import to_device
from gtzan_stream.dsp.stft import BLOCK_FRAMES, frames_covering, hann_array, overlap_add, stft
from gtzan_stream.kernels import constants
from gtzan_stream.shapes import Spectrogram, Waveform

N_FFT = 2048
HOP = 512
SILENCE = math.sqrt(constants.SILENT_POWER)
"""Largest magnitude of a silent bin. Its phase counts as 0, because the true phase would be rounding noise."""


def source(length: int | np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute which input samples the stretch needs so that the output has no edge effects; see `stretch.source`.

    The first output frame needed is centred on output sample ``-HOP``, so on input sample ``offset - HOP * rate``; its
    STFT frame begins half a frame earlier. The last is centred on output sample `last` and also reads the frame after
    its own. Rate 1.5 and 22,050 output samples need 1,792 samples before and 37,888 in all.
    """
    before = np.ceil(N_FFT // 2 + HOP * np.asarray(rate)).astype(np.int64)
    last = (np.asarray(length) + N_FFT // 2 - 2) // HOP * HOP  # centre of the last output frame
    total = np.ceil(before + last * np.asarray(rate)).astype(np.int64) + HOP + N_FFT // 2
    return before, total


def stretch_batch(waveform: Waveform, rate: np.ndarray, offset: np.ndarray, bounds: np.ndarray, length: int) -> Tensor:
    """Stretch all rows at once, in plain torch or by the Triton kernel; the arguments are those of `time_stretch`.

    Output samples ``bounds[i, 0]`` to ``bounds[i, 1] - 1`` of row i are computed, and the others are zero.
    """
    n_before = int((offset != 0).any())  # the frame centred on sample -HOP also reaches the output's first samples
    n_frames = n_before + frames_covering(length, N_FFT, HOP)
    rates, offsets, *limits = to_device(np.stack([rate, offset / HOP, *bounds.T]), waveform.device)
    k = torch.arange(-n_before, n_frames - n_before, dtype=torch.float64, device=waveform.device)
    position = k * rates[:, None] + offsets[:, None]  # [batch, output frame], in input frames
    spectrogram = stft(waveform, N_FFT, HOP)
    valid = (position >= 0) & (position < spectrogram.shape[2])
    if backend(waveform) == "triton":
        from gtzan_stream.kernels import triton_vocoder

        frames = spectrogram.transpose(1, 2)
        out = empty_spectrum((*position.shape, frames.shape[2]), frames)
        triton_vocoder.vocode(frames, position, out)
        vocoded = out.transpose(1, 2)
    else:
        vocoded = _vocode(spectrogram, position, valid)
    return overlap_add(vocoded, valid, torch.stack(limits, dim=1).long(), length, HOP, n_before=n_before)


def _vocode(spectrogram: Spectrogram, position: Tensor, valid: Tensor) -> Tensor:
    """Compute the output frames at `position` by the formulas at the top, in plain torch.

    Parameters
    ----------
    spectrogram : Tensor [batch, freq, frame], complex
    position : Tensor [batch, output frame], float64
        Where each output frame reads, in input frames.
    valid : Tensor [batch, output frame], bool
        Which positions are inside the spectrogram; the other output frames are zero.

    Returns
    -------
    Tensor [batch, freq, output frame], complex
    """
    left = position.clamp(0, spectrogram.shape[2] - 1).floor()
    alpha = torch.where(valid, position - left, 0.0)[:, None].to(spectrogram.real.dtype)
    left = left.long()[:, None]
    padded = functional.pad(spectrogram, (0, 1))  # the last frame's neighbour is silent
    magnitude = padded.abs()
    unit = safe.divide(padded, magnitude, magnitude > SILENCE, 1.0)

    def take(values: Tensor, frame: Tensor) -> Tensor:
        return values.gather(2, frame.expand(-1, values.shape[1], -1))

    rotation = torch.where(valid[:, None], take(unit, left).conj() * take(unit, left + 1), 1.0)
    first = take(unit, left[:, :, :1])
    phase = torch.cat([first, rotation[:, :, :-1]], dim=2).cumprod(dim=2)  # the phase is accumulated here
    phase = phase / phase.abs()
    level = torch.lerp(take(magnitude, left), take(magnitude, left + 1), alpha.expand(-1, magnitude.shape[1], -1))
    return torch.where(valid[:, None], level * phase, 0.0)


def stretch_row(waveform: np.ndarray, rate: float, offset: float, output: np.ndarray) -> None:
    """Fill `output` [length] with the stretched `waveform` [time] on this thread.

    Output frames are computed in blocks of `BLOCK_FRAMES`, each from the STFT of the input frames that it reads, so the
    arrays stay in the core's cache whatever the length.
    """
    from gtzan_stream.kernels import numba_stft, numba_vocoder

    n_frames, n_before, n_freq = 1 + len(waveform) // HOP, int(offset != 0), N_FFT // 2 + 1
    window = hann_array(N_FFT)
    k = np.arange(-n_before, frames_covering(len(output), N_FFT, HOP))
    position = k * rate + offset / HOP
    valid = np.flatnonzero((position >= 0) & (position < n_frames))  # indices into k and position

    def transform(first: int, last: int) -> np.ndarray:
        """Input frames `first` to `last` - 1 of the STFT, [frame, freq]; silent from frame `n_frames` on."""
        frames = np.empty((last - first, N_FFT), np.float32)
        numba_stft.cut_frames(waveform, window, HOP, first * HOP - N_FFT // 2, frames)
        frames[max(n_frames - first, 0) :] = 0
        return scipy.fft.rfft(frames, workers=1)

    output[:] = 0
    if not len(valid):
        return
    start = int(min(max(position[0], 0), n_frames - 1))
    first_frame = transform(start, start + 1)[0]
    audible = np.abs(first_frame) > SILENCE
    with np.errstate(invalid="ignore"):  # infinite samples give NaN
        first_phase = np.where(audible, first_frame, 1) / np.where(audible, np.abs(first_frame), 1)
    # [2, freq]: the accumulated phase P, which the kernel updates from block to block.
    phase = np.stack([first_phase.real, first_phase.imag]).astype(np.float32)
    vocoded = np.empty((BLOCK_FRAMES, n_freq), np.complex64)
    for begin in range(0, len(valid), BLOCK_FRAMES):
        block = valid[begin : begin + BLOCK_FRAMES]
        first = int(position[block[0]])
        spectrum = transform(first, int(position[block[-1]]) + 2)
        result = vocoded[: len(block)]
        numba_vocoder.vocode(spectrum.view(np.float32), position[block] - first, phase, result.view(np.float32))
        numba_stft.add_frames(scipy.fft.irfft(result, N_FFT, workers=1), window, HOP, int(k[block[0]]), output)
    numba_stft.divide_by_windows(output, window, HOP, int(k[valid[0]]), int(k[valid[-1]]) + 1)
