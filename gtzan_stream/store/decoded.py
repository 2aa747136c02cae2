"""Keep whole decoded clips in memory, for codecs that can only be decoded from the beginning."""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from gtzan_stream.threads import fork_safe_lock

_N_LOCKS = 64  # largest number of clips that are decoded at the same time


class DecodedClips:
    """A least-recently-used cache of waveforms, shared by threads.

    Crops of a clip are often read by several threads at once. The clip is decoded by one of them while the others wait
    for it: each clip has a lock, shared with the clips that have the same index modulo 64.

    Parameters
    ----------
    limit : int
        Bytes of waveforms to keep. The most recent waveform is kept even if it alone is larger.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._n_bytes = limit, 0
        self._waveforms: OrderedDict[int, np.ndarray] = OrderedDict()  # least recently used first
        self._lock = fork_safe_lock()
        self._decode_locks = [fork_safe_lock() for _ in range(_N_LOCKS)]

    def get(self, clip: int, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the waveform [time] of a clip; call `decode` if it is not in the cache."""
        with self._decode_locks[clip % _N_LOCKS]:
            with self._lock:
                if clip in self._waveforms:
                    self._waveforms.move_to_end(clip)
                    return self._waveforms[clip]
            waveform = decode()
            with self._lock:
                self._waveforms[clip] = waveform
                self._n_bytes += waveform.nbytes
                while self._n_bytes > self._limit and len(self._waveforms) > 1:
                    self._n_bytes -= self._waveforms.popitem(last=False)[1].nbytes
        return waveform

    def clear(self) -> None:
        """Drop all waveforms."""
        with self._lock:
            self._waveforms.clear()
            self._n_bytes = 0
