"""Read the segments of a batch's rows into one buffer, in several threads."""

import numpy as np
import torch
from torch import Tensor

from gtzan_stream.crops import Segments
from gtzan_stream.dsp.pcm import uninitialized
from gtzan_stream.errors import BadSample
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
from gtzan_stream.threads import thread_pool


class RowReader:
    """Reads segments of several clips at once.

    Parameters
    ----------
    manifest : Manifest
    num_workers : int
        Threads that read. With 0 or 1, the calling thread reads.
    skip : bool
        Whether to fill rows that cannot be read with zeros, instead of raising `BadSample`.
    pin_memory : bool
        Whether to read into page-locked memory, from which a GPU can copy without blocking.
    """

    def __init__(self, manifest: Manifest, num_workers: int, *, skip: bool, pin_memory: bool) -> None:
        self._reader, self._skip, self._pin_memory = ClipReader(manifest), skip, pin_memory
        self._threads = thread_pool(num_workers, "gtzan-stream-reader") if num_workers > 1 else None

    def read(self, clips: np.ndarray, segments: Segments, errors: dict[int, str]) -> Tensor:
        """Read a segment of each clip, and add the error message of each row that cannot be read to `errors`.

        Parameters
        ----------
        clips : int64 [batch]
            Indices of the clips in the manifest.
        segments : Segments
        errors : dict of int to str

        Returns
        -------
        Tensor [batch, time], int16 or float32
            Samples after the end of a shorter segment are undefined.
        """
        shape = (len(clips), int(segments.length.max()))
        dtype = torch.int16 if self._reader.dtype == np.int16 else torch.float32
        buffer = uninitialized(shape, dtype, pin_memory=self._pin_memory)
        array = buffer.numpy()

        def read_row(row: int) -> None:
            try:
                self._reader.read(int(clips[row]), int(segments.start[row]), array[row, : segments.length[row]])
            except BadSample as error:
                if not self._skip:
                    raise
                array[row] = 0
                errors[row] = str(error)

        if self._threads is None:
            for row in range(len(array)):
                read_row(row)
        else:
            list(self._threads.map(read_row, range(len(array))))
        return buffer

    def close(self) -> None:
        """Close the shards and end the threads. Reading afterwards is an error."""
        self._reader.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
