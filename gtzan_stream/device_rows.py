"""Make a batch's features on a GPU, or in plain torch: read all rows into one buffer, then compute the whole batch.

1. Read the segments into one buffer [batch, time]: int16 if all clips are 16-bit PCM, else float32. It is in pinned
   memory, from which a GPU can copy while the host goes on.
2. Copy the buffer to the device, and convert int16 to float32 there, because that halves the bytes to copy.
3. Augment, compute features, and fill padding frames with silence.
"""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw
from gtzan_stream.crops import Segments
from gtzan_stream.dsp.backend import RowThreads, for_rows
from gtzan_stream.dsp.parameters import to_device
from gtzan_stream.dsp.pcm import to_float32, uninitialized
from gtzan_stream.geometry import Geometry
from gtzan_stream.row_errors import RowErrors
from gtzan_stream.store.read import ClipReader
from gtzan_stream.threads import cores, fork_safe_lock

FEWEST_ROWS = 8
"""Rows that a thread reads in one call, at least."""


class DeviceRows:
    """Makes the features of rows on any device, all rows at once.

    Parameters
    ----------
    reader : ClipReader
    features : Module
        On `device`.
    device : torch.device
    num_workers : int
        If there are fewer cores, rows are read by this many threads.
    """

    def __init__(self, reader: ClipReader, features: nn.Module, device: torch.device, num_workers: int) -> None:
        self._reader, self._features, self._device = reader, features, device
        self._geometry = cast(Geometry, features.geometry)
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._threads = RowThreads(num_workers) if num_workers > cores() else None
        self._n_threads = max(num_workers, cores())
        self._computing = fork_safe_lock()  # one batch at a time; others may be read meanwhile

    def compute(
        self, clips: np.ndarray, segments: Segments, transform: Transform, draw: Draw, errors: RowErrors
    ) -> Tensor:
        """Compute the features [batch, row, frame] of segments of clips; see `CpuRows.compute`."""
        buffer = self._read(clips, segments, errors)
        with self._computing:
            augmented = self._augment(buffer, transform, draw, errors)
            return fill_padding(self._features(augmented), segments.valid_frames, self._geometry)

    def waveforms(
        self, clips: np.ndarray, segments: Segments, transform: Transform, draw: Draw, errors: RowErrors
    ) -> Tensor:
        """Compute the waveforms, float32 [batch, `read_length`], that `compute` computes features from."""
        buffer = self._read(clips, segments, errors)
        with self._computing:
            return self._augment(buffer, transform, draw, errors)

    def _augment(self, buffer: Tensor, transform: Transform, draw: Draw, errors: RowErrors) -> Tensor:
        """Copy a buffer to the device, convert it to float32 and augment it."""
        return transform.apply(
            to_float32(self._to_device(buffer)),
            draw,
            np.full(len(buffer), self._geometry.read_length),
            failed=lambda row, error: errors.failed(row, error, draw.label(row)),
            overwrite=True,  # the converted buffer is not used afterwards
        )

    def _to_device(self, buffer: Tensor) -> Tensor:
        """Copy a buffer to the device, on a GPU in a stream of its own: while the batch before is being computed."""
        if self._copies is None:
            return buffer.to(self._device)
        with torch.cuda.stream(self._copies):
            samples = buffer.to(self._device, non_blocking=True)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._copies)
        samples.record_stream(current)
        return samples

    def close(self) -> None:
        """End the threads."""
        if self._threads is not None:
            self._threads.close()

    def _read(self, clips: np.ndarray, segments: Segments, errors: RowErrors) -> Tensor:
        """Read a segment of each clip to [batch, time]; samples after the end of a shorter segment are undefined."""
        shape = (len(clips), int(segments.length.max()))
        dtype = torch.int16 if self._reader.dtype == np.int16 else torch.float32
        buffer = uninitialized(shape, dtype, pin_memory=self._device.type == "cuda")
        array = buffer.numpy()
        direct = self._reader.direct_rows(clips, segments.start, segments.length)

        # Few blocks, since a thread needs the GIL between two; more than threads, since some take longer. Threads that
        # read slowly, or decode, take few rows each.
        fewest = FEWEST_ROWS if direct is not None and self._threads is None else 1
        size = max(-(-len(array) // (2 * self._n_threads)), fewest)

        def read_block(number: int) -> None:
            first = number * size
            block = array[first : first + size]
            for row in range(first, first + len(block)) if direct is None else direct.read_rows(first, block):
                errors.read(self._reader, row, int(segments.start[row]), array[row, : segments.length[row]])

        for_rows(read_block, -(-len(array) // size), self._threads)
        return buffer


def fill_padding(features: Tensor, valid_frames: np.ndarray, geometry: Geometry) -> Tensor:
    """Set the frames after the valid ones to the feature's silence value."""
    if valid_frames.min() >= geometry.frames:
        return features
    valid = to_device(valid_frames, features.device)[:, None]
    is_padding = torch.arange(geometry.frames, device=features.device) >= valid  # [batch, frame]
    return features.masked_fill(is_padding[:, None], geometry.silence)
