"""Frames cut from one waveform and added back into one, on one CPU core: what surrounds the FFT of a row."""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.compiled import compiled

NO_WINDOW = constants.NO_WINDOW
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}


@compiled(fastmath=FASTMATH)
@no_type_check
def cut(waveform: np.ndarray, window: np.ndarray, hop: int, first: int, frames: np.ndarray) -> None:
    """Fill `frames` [frame, n_fft] with windowed frames number `first`, `first` + 1, ... of a `waveform` [time].

    Frame t is centred on sample ``t * hop``; beyond the waveform's ends there are zeros.
    """
    n_fft = len(window)
    for row in range(len(frames)):
        start = (first + row) * hop - n_fft // 2
        head = min(max(-start, 0), n_fft)
        tail = max(min(len(waveform) - start, n_fft), head)
        frames[row, :head] = 0
        source, target, weight = waveform[start + head : start + tail], frames[row, head:tail], window[head:tail]
        for i in range(tail - head):  # from 0 over slices, so that no index may be negative: this vectorises
            target[i] = source[i] * weight[i]
        frames[row, tail:] = 0


@compiled(fastmath=FASTMATH)
@no_type_check
def add(frames: np.ndarray, window: np.ndarray, hop: int, first: int, waveform: np.ndarray) -> None:
    """Add windowed `frames` [frame, n_fft], the first of which is number `first`, to `waveform` [time]."""
    n_fft = len(window)
    for row in range(len(frames)):
        start = (first + row) * hop - n_fft // 2
        head = min(max(-start, 0), n_fft)
        tail = max(min(len(waveform) - start, n_fft), head)
        source, target, weight = frames[row, head:tail], waveform[start + head : start + tail], window[head:tail]
        for i in range(tail - head):
            target[i] += source[i] * weight[i]


@compiled(fastmath=FASTMATH)
@no_type_check
def normalise(waveform: np.ndarray, window: np.ndarray, hop: int, first: int, last: int) -> None:
    """Divide `waveform` [time] by the sum of the squared windows of frames `first` to `last` - 1, where it is not 0."""
    n_fft = len(window)
    weight = np.empty(hop, window.dtype)
    counted = (0, 0)
    for start in range(0, len(waveform), hop):
        # this hop is reached by frames `near` to `far` - 1, cut to those that exist
        block = start // hop
        lowest = block - n_fft // (2 * hop) + 1
        near, far = max(first, lowest) - block, min(last, lowest + n_fft // hop) - block
        if (near, far) != counted or start == 0:
            counted = (near, far)
            for i in range(hop):
                total = window.dtype.type(0)
                for frame in range(near, far):
                    total += window[i - frame * hop + n_fft // 2] ** 2
                weight[i] = 1 / total if total > NO_WINDOW else 1
        for i in range(min(hop, len(waveform) - start)):
            waveform[start + i] *= weight[i]
