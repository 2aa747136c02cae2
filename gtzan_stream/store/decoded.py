"""Clips kept decoded, for codecs that can only be decoded from the beginning."""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from gtzan_stream.threads import fork_safe_lock

_LOCKS = 64  # clips that can be decoded at a time


class DecodedClips:
    """The waveforms that were used last, up to a number of bytes. Threads that want the same clip decode it once.

    Parameters
    ----------
    limit : int
        Bytes; the waveform that was used last stays in any case.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes = limit, 0
        self._waveforms: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = fork_safe_lock()
        self._decoding = [fork_safe_lock() for _ in range(_LOCKS)]

    def get(self, clip: int, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """The waveform [time] of a clip; calls `decode` if it is not kept."""
        with self._decoding[clip % _LOCKS]:
            with self._lock:
                if clip in self._waveforms:
                    self._waveforms.move_to_end(clip)
                    return self._waveforms[clip]
            waveform = decode()
            with self._lock:
                self._waveforms[clip] = waveform
                self._bytes += waveform.nbytes
                while self._bytes > self._limit and len(self._waveforms) > 1:
                    self._bytes -= self._waveforms.popitem(last=False)[1].nbytes
        return waveform

    def clear(self) -> None:
        """Drop all waveforms."""
        with self._lock:
            self._waveforms.clear()
            self._bytes = 0
