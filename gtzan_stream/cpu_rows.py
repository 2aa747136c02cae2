"""Make a batch's features on the CPU with numba: each row is one thread's work, from reading to its features.

    shard ──read──> int16 ──convert──> float32 ──transforms──> float32 ──row kernel──> features[row]
                      └──────────── if nothing changes the row ────────────┘

The samples of a row are in scratch memory of its thread and stay in the core's cache. No row waits for another, and a
row that no transform changes is neither converted nor copied. A row calls no function of torch, unless a transform of
the user does: a call of torch takes longer than some transforms.

Features that have no row kernel (`LogMel.row_kernel`) are computed for the whole batch, from a buffer of the rows'
waveforms.
"""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw
from gtzan_stream.augment.steps import Step, run_steps, steps_by_row
from gtzan_stream.crops import Segments
from gtzan_stream.device_rows import fill_padding
from gtzan_stream.dsp.backend import RowThreads, for_rows
from gtzan_stream.dsp.pcm import uninitialized, write_float32
from gtzan_stream.dsp.scratch import borrowed
from gtzan_stream.geometry import Geometry
from gtzan_stream.row_errors import RowErrors
from gtzan_stream.store.read import ClipReader
from gtzan_stream.threads import cores, fork_safe_lock


class CpuRows:
    """Makes the features of rows on the CPU.

    Parameters
    ----------
    reader : ClipReader
    features : Module
    n_rows : int
        Rows of one example's features, such as mel bands.
    num_workers : int
        If there are fewer cores, rows get this many threads, because threads that read slowly wait most of the time.
    """

    def __init__(self, reader: ClipReader, features: nn.Module, n_rows: int, num_workers: int) -> None:
        self._reader, self._features, self._n_rows = reader, features, n_rows
        self._geometry = cast(Geometry, features.geometry)
        self._threads = RowThreads(num_workers) if num_workers > cores() else None
        self._computing = fork_safe_lock()  # features need not be safe in two threads

    def compute(
        self, clips: np.ndarray, segments: Segments, transform: Transform, draw: Draw, errors: RowErrors
    ) -> Tensor:
        """Compute the features of segments of clips.

        Parameters
        ----------
        clips : int64 [batch]
            Indices of the clips in the manifest.
        segments : Segments
        transform : Transform
        draw : Draw
            Its parameters for these rows.
        errors : RowErrors
            Gets the errors of rows. Rows that are skipped are silent.

        Returns
        -------
        Tensor [batch, row, frame]
        """
        kernel = getattr(self._features, "row_kernel", lambda: None)()
        if kernel is not None:
            n = len(clips)
            steps = steps_by_row(transform.leaves(draw), np.full(n, self._geometry.read_length))
            features = torch.empty(n, self._n_rows, self._geometry.frames, dtype=torch.float32)
            out, valid = features.numpy(), segments.valid_frames.tolist()

            def finish(row: int, samples: np.ndarray) -> None:
                kernel(samples, out[row])
                if valid[row] < out.shape[2]:
                    out[row, :, valid[row] :] = self._geometry.silence

            self._for_rows(clips, segments, steps, draw, errors, finish)
            return features
        waveform = self.waveforms(clips, segments, transform, draw, errors)
        with self._computing:
            return fill_padding(self._features(waveform), segments.valid_frames, self._geometry)

    def waveforms(
        self, clips: np.ndarray, segments: Segments, transform: Transform, draw: Draw, errors: RowErrors
    ) -> Tensor:
        """Compute the waveforms, float32 [batch, `read_length`], that `compute` computes features from."""
        n, length = len(clips), self._geometry.read_length
        steps = steps_by_row(transform.leaves(draw), np.full(n, length))
        waveform = uninitialized((n, length), torch.float32)
        rows = waveform.numpy()
        self._for_rows(clips, segments, steps, draw, errors, lambda row, samples: write_float32(samples, rows[row]))
        return waveform

    def close(self) -> None:
        """End the threads."""
        if self._threads is not None:
            self._threads.close()

    def _for_rows(
        self,
        clips: np.ndarray,
        segments: Segments,
        steps: Sequence[Sequence[Step]],
        draw: Draw,
        errors: RowErrors,
        finish: Callable[[int, np.ndarray], object],
    ) -> None:
        """Read and augment each row, and call ``finish(row, samples)`` with its `read_length` samples."""
        # Opens the shards here, so that no thread of the pool waits for a download.
        direct = self._reader.direct_rows(clips, segments.start, segments.length)
        starts, lengths = segments.start.tolist(), segments.length.tolist()
        length, dtype = self._geometry.read_length, self._reader.dtype

        def make(row: int) -> None:
            with borrowed(lengths[row], dtype) as samples:
                if direct is None or not direct.read_row(row, samples):
                    errors.read(self._reader, row, starts[row], samples)
                if not steps[row]:
                    finish(row, samples)
                    return
                with borrowed(length, np.float32) as augmented:
                    try:
                        augment(row, samples, augmented)
                    except ValueError as error:
                        errors.failed(row, error, draw.label(row))
                        augmented[:] = 0
                    finish(row, augmented)

        def augment(row: int, samples: np.ndarray, augmented: np.ndarray) -> None:
            if samples.dtype == np.float32:
                run_steps(steps[row], row, samples, augmented)
                return
            with borrowed(len(samples), np.float32) as converted:
                write_float32(samples, converted)
                run_steps(steps[row], row, converted, augmented)

        for_rows(make, len(clips), self._threads)
