"""Cut a waveform into frames before the FFT, and overlap-add frames after the inverse, on one CPU core.

Also used by the mel spectrogram and the phase vocoder. `gtzan_stream.dsp.stft` has the formulas.
"""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.compiled import compiled

NO_WINDOW = constants.NO_WINDOW
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}


@compiled(fastmath=FASTMATH)
@no_type_check
def cut_frames(waveform: np.ndarray, window: np.ndarray, hop: int, start: int, frames: np.ndarray) -> None:
    """Fill `frames` [frame, n_fft] with windowed frames of a `waveform` [time], one every `hop` samples.

    The first frame begins at sample `start`, which may be negative; beyond the waveform's ends there are zeros.
    """
    n_fft = len(window)
    for row in range(len(frames)):
        begin = start + row * hop
        head = min(max(-begin, 0), n_fft)  # frame samples head .. tail - 1 are inside the waveform
        tail = max(min(len(waveform) - begin, n_fft), head)
        frames[row, :head] = 0
        source, target, weight = waveform[begin + head : begin + tail], frames[row, head:tail], window[head:tail]
        for i in range(tail - head):  # Vectorises, because indices into the slices cannot be negative.
            target[i] = source[i] * weight[i]
        frames[row, tail:] = 0


@compiled(fastmath=FASTMATH)
@no_type_check
def add_frames(frames: np.ndarray, window: np.ndarray, hop: int, first: int, waveform: np.ndarray) -> None:
    """Add windowed `frames` [frame, n_fft] to `waveform` [time]; the first is centred on sample ``first * hop``."""
    n_fft = len(window)
    for row in range(len(frames)):
        begin = (first + row) * hop - n_fft // 2
        head = min(max(-begin, 0), n_fft)
        tail = max(min(len(waveform) - begin, n_fft), head)
        source, target, weight = frames[row, head:tail], waveform[begin + head : begin + tail], window[head:tail]
        for i in range(tail - head):
            target[i] += source[i] * weight[i]


@compiled(fastmath=FASTMATH)
@no_type_check
def divide_by_windows(waveform: np.ndarray, window: np.ndarray, hop: int, first: int, last: int) -> None:
    """Divide `waveform` [time] by the sum of the squared windows of frames `first` to `last` - 1, where it is not 0.

    The sum is the same in every hop that all frames which can cover it do, so it is computed again only where the
    frames that cover a hop differ from those of the hop before: near both ends.
    """
    n_fft, half = len(window), len(window) // 2
    inverse_weight = np.empty(hop, window.dtype)
    summed = (0, 0)
    for start in range(0, len(waveform), hop):
        # Of the frames that exist, hop_index + near to hop_index + far - 1 cover a part of the hop at `start`.
        hop_index = start // hop
        near = max(first - hop_index, -((half - 1) // hop))
        far = min(last - hop_index, (half + hop - 1) // hop + 1)
        if (near, far) != summed or start == 0:
            summed = (near, far)
            for i in range(hop):
                total = window.dtype.type(0)
                for frame in range(near, far):
                    place = i - frame * hop + half
                    if 0 <= place < n_fft:
                        total += window[place] ** 2
                inverse_weight[i] = 1 / total if total > NO_WINDOW else 1
        for i in range(min(hop, len(waveform) - start)):
            waveform[start + i] *= inverse_weight[i]
