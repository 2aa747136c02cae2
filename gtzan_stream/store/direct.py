"""Read the rows of a batch that need no decoding, without the GIL."""

import functools
from collections.abc import Mapping

import numpy as np

from gtzan_stream.dsp.backend import numba_on_host
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.open_shards import OpenShard


class DirectRows:
    """The rows of a batch as places in open shards, computed for all of them at once.

    The other rows are left to `ClipReader.read`: segments that have to be decoded, that are mostly reflections of their
    clip, or of a shard that is not given. It also reads rows again that failed or look silent, and says what is wrong.

    Parameters
    ----------
    manifest : Manifest
    shards : mapping of int to OpenShard
        Shards by number. They stay open as long as this object exists.
    clips, starts, lengths : int64 [batch]
        Clip, first sample and number of samples of each row.
    """

    def __init__(
        self,
        manifest: Manifest,
        shards: Mapping[int, OpenShard],
        clips: np.ndarray,
        starts: np.ndarray,
        lengths: np.ndarray,
    ) -> None:
        from gtzan_stream.kernels import numba_read  # not for each row

        self._shards, self._kernels = shards, numba_read
        before, after = np.maximum(-starts, 0), np.maximum(starts + lengths - manifest.frames[clips], 0)
        inside = lengths - before - after
        files = {number: shard.fileno() for number, shard in shards.items()}
        # A shard that is not given has the descriptor -1, from which nothing can be read.
        file = np.array([files.get(number, -1) for number in manifest.shard[clips].tolist()])
        is_direct = manifest.direct[clips] & (before < inside) & (after < inside)
        offset = manifest.data_offset[clips] + 2 * np.maximum(starts, 0)
        places = np.stack([file, offset, before, inside, after], axis=1).astype(np.int64)
        self._places = np.where(is_direct[:, None], places, 0)  # no samples to read

    def read_row(self, row: int, out: np.ndarray) -> bool:
        """Read a row to the beginning of `out`, contiguous int16 [time]. Return whether that was possible."""
        return bool(self._kernels.read_row(row, self._places, out))

    def read_rows(self, first: int, out: np.ndarray) -> list[int]:
        """Read rows from `first` on, each to the beginning of a row of `out`, contiguous int16 [n, time].

        Returns
        -------
        list of int
            The rows that could not be read, counted from the batch's first.
        """
        is_read = np.empty(len(out), np.bool_)
        self._kernels.read_rows(first, self._places, out, is_read)
        return (first + np.flatnonzero(~is_read)).tolist()


@functools.cache
def most_shards_of_a_batch() -> int:
    """Return how many shards the rows of a batch may hold open: a sixteenth of the files that the process may open.

    Two loaders, each with two batches and its own open shards, thus stay below the limit.
    """
    try:
        import resource
    except ImportError:  # Windows
        return 64
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 256 if limit == resource.RLIM_INFINITY else min(max(limit // 16, 1), 256)


def can_read_directly() -> bool:
    """Return whether numba is installed and the system has `pread`."""
    if not numba_on_host():
        return False
    from gtzan_stream.kernels import numba_read

    return numba_read.can_read()
