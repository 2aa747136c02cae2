"""Make one batch: draw parameters, read segments, copy them to the device, augment them, compute features.

`BatchMaker.make_batch` takes these steps, each for all rows at once:

1. Draw the parameters of the augmentation, on the host. They decide which samples are needed, so this comes first.
2. Choose where each crop starts and which segment of its clip it reads (`gtzan_stream.crops`).
3. Read the segments into one buffer [batch, time]: int16 if all clips are 16-bit PCM, else float32. The buffer is in
   pinned memory if the device is a GPU.
4. Copy the buffer to the device, and convert int16 to float32 there, because that halves the bytes to copy.
5. Augment, compute features, and fill padding frames with silence.

The consumer's thread calls `make_batch` if `num_workers` is 0. Otherwise the one thread of `prefetch_executor` calls
it, a few batches ahead. With `num_workers` above 1, that many reader threads share step 3. On the CPU, steps 4 and 5
share one more pool, with a thread for each core (`gtzan_stream.dsp.backend.for_rows`).

On CUDA, steps 4 and 5 are queued in the maker's own stream, so that they overlap with the training step, and
`make_batch` returns before they are done. The event that it returns marks their end: `synchronize` makes the consumer's
stream wait for it, without blocking the host.
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gtzan_stream import crops, short_clips
from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Examples
from gtzan_stream.batch import Batch
from gtzan_stream.dsp.pcm import to_float32, uninitialized
from gtzan_stream.errors import BadSample
from gtzan_stream.feature_settings import format_arguments, format_options
from gtzan_stream.geometry import Geometry
from gtzan_stream.plan import Rows
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
from gtzan_stream.threads import thread_pool

_log = logging.getLogger(__name__)


class BatchMaker:
    """Factory of batches: the same rows of the same epoch always give the same batch.

    Parameters
    ----------
    manifest : Manifest
    labels : sequence of str
        Names of the classes; a batch's labels are indices into them.
    features : Module
        On `device`, with a `geometry`.
    device : torch.device
        Where augmentation and features are computed.
    num_workers : int
        Threads that read.
    seed : int
    on_error : "fail" or "skip"
        What to do with an unreadable example; see `Loader`.

    Attributes
    ----------
    prefetch_executor : Executor
        One thread, for making batches ahead of their consumer.
    closed : bool
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        labels: Sequence[str],
        features: nn.Module,
        device: torch.device,
        num_workers: int,
        seed: int,
        on_error: str,
    ) -> None:
        self.features, self.device = features, device
        self.geometry = cast(Geometry, features.geometry)
        self.manifest = manifest.resampled(self.geometry.sample_rate)
        if n_other := int((manifest.clip_rate != self.manifest.sample_rate).sum()):
            _log.warning(
                "%d of %d clips have another sample rate than the features' %d Hz: each is decoded whole and "
                "resampled whenever it is read; packing the shards at that rate makes reading faster",
                *(n_other, len(manifest), self.manifest.sample_rate),
            )
        self.seed, self.on_error = seed, on_error
        self.closed = False
        # Class of each label of the manifest; -1 for labels that the split does not have.
        self._class_index = np.array([labels.index(name) if name in labels else -1 for name in manifest.labels])
        self._reader = ClipReader(self.manifest)
        self._reader_threads = thread_pool(num_workers, "gtzan-stream-reader") if num_workers > 1 else None
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        gpu = None if self._stream is None else self._stream.device
        # The initializer is not a method, because a bound method would keep the maker alive.
        self.prefetch_executor = thread_pool(1, "gtzan-stream-prefetch", partial(_init_thread, gpu))

    def close(self) -> None:
        """Close the shards and end the threads. No batches can be made afterwards."""
        self.closed = True
        self._reader.close()
        for pool in (self.prefetch_executor, self._reader_threads):
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)

    # Inference-mode tensors cannot be modified by other threads or used in autograd, so turn the mode off here.
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def make_batch(self, rows: Rows, epoch: int, transform: Transform, *, training: bool) -> tuple[Batch, Any]:
        """Make the batch that holds these rows of an epoch.

        Parameters
        ----------
        rows : Rows
        epoch : int
        transform : Transform
        training : bool
            True for random crops; False for chunks, with `rows.crops` as their indices.

        Returns
        -------
        Batch
        torch.cuda.Event or None
            On CUDA, the event that marks when the tensors are ready; pass it to `synchronize`.
        """
        examples = Examples.of(
            self.manifest.key_hash[rows.clips], seed=self.seed, epoch=epoch, crops=rows.crops.astype(np.uint32)
        )
        draw = transform.draw_for(examples, type(transform).__name__)
        rate, lengths = transform.rate(draw), self.manifest.frames[rows.clips]
        if training:
            starts = crops.random_starts(examples.uniform("crop"), lengths, self.geometry, rate)
        else:
            starts = crops.chunk_starts(rows.crops, self.geometry)
        source = transform.source(self.geometry.read_length, draw)
        segments = crops.segments(starts, lengths, self.geometry, rate, source.before, source.length)
        buffer, errors = self._read(rows.clips, segments)

        def failed(row: int, error: ValueError) -> None:
            if row in errors:  # not read, so the transform got silence
                return
            reason = str(error).removeprefix(f"{draw.label(row)}: ")  # has only the hash of the key
            message = f"{self.manifest.location(int(rows.clips[row]))}, crop {rows.crops[row]}: {reason}"
            if self.on_error == "fail":
                raise BadSample(message) from error
            errors[row] = message

        with torch.cuda.stream(self._stream):
            waveform = self._as_float32(self._to_device(buffer))
            length = np.full(len(waveform), self.geometry.read_length)
            features = self.features(transform.apply(waveform, draw, length, failed=failed))
            features = self._fill_padding(features, segments.valid_frames)
            weights = rows.weights * segments.has_enough_audio
            weights[list(errors)] = 0
            host = {"labels": self._class_index[self.manifest.label[rows.clips]], "weights": weights.astype(np.float32)}
            tensors = {name: self._to_device(torch.from_numpy(array)) for name, array in host.items()}
            event = None if self._stream is None else self._stream.record_event()
        batch = Batch(
            features=features,
            **tensors,
            keys=[self.manifest.keys[int(clip)].as_py() for clip in rows.clips],
            crops=rows.crops,
            starts=starts,
            valid_frames=segments.valid_frames,
            epoch=epoch,
            skipped=tuple(errors[row] for row in sorted(errors)),
            transform=transform,
            seed=self.seed,
        )
        return batch, event

    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def unaugmented(self, clips: np.ndarray, starts: np.ndarray) -> Tensor:
        """Compute the features [batch, row, frame] of crops without augmentation."""
        segments = crops.segments(starts, self.manifest.frames[clips], self.geometry)
        buffer, _ = self._read(clips, segments)
        features = self.features(self._as_float32(buffer.to(self.device)))
        return self._fill_padding(features, segments.valid_frames)

    def _read(self, clips: np.ndarray, segments: crops.Segments) -> tuple[Tensor, dict[int, str]]:
        """Read the segments of all rows.

        Returns
        -------
        Tensor [batch, time]
            A segment in each row. Samples after the end of a shorter segment are undefined.
        dict of int to str
            The error message of each row that could not be read.
        """
        shape = (len(clips), int(segments.length.max()))
        dtype = torch.int16 if self._reader.dtype == np.int16 else torch.float32
        buffer = uninitialized(shape, dtype, pin_memory=self._stream is not None)
        array = buffer.numpy()
        errors: dict[int, str] = {}

        def read(row: int) -> None:
            try:
                self._reader.read(int(clips[row]), int(segments.start[row]), array[row, : segments.length[row]])
            except BadSample as error:
                if self.on_error == "fail":
                    raise
                array[row] = 0
                errors[row] = str(error)

        if self._reader_threads is None:
            for row in range(len(array)):
                read(row)
        else:
            list(self._reader_threads.map(read, range(len(array))))
        return buffer, errors

    def _to_device(self, tensor: Tensor) -> Tensor:
        """Copy a tensor to the GPU without blocking, from pinned memory; on the CPU return it as it is."""
        if self._stream is None:
            return tensor
        return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(self.device, non_blocking=True)

    def _as_float32(self, waveform: Tensor) -> Tensor:
        return to_float32(waveform) if waveform.dtype == torch.int16 else waveform

    def _fill_padding(self, features: Tensor, valid_frames: np.ndarray) -> Tensor:
        """Set the frames after the valid ones to the feature's silence value."""
        if valid_frames.min() >= self.geometry.frames:
            return features
        valid = self._to_device(torch.from_numpy(valid_frames))[:, None]
        is_padding = torch.arange(self.geometry.frames, device=self.device) >= valid  # [batch, frame]
        return features.masked_fill(is_padding[:, None], self.geometry.silence)

    def synchronize(self, batch: Batch, event: Any) -> None:
        """Make the current CUDA stream wait until the batch is ready, and log its skipped examples."""
        if event is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(event)
            # The tensors were allocated in the maker's stream. Their memory must not be reused before the current
            # stream is done with it.
            for tensor in (batch.features, batch.labels, batch.weights):
                tensor.record_stream(current)
        for message in batch.skipped:
            _log.warning("skipped: %s", message)

    def check_clips(self, clips: np.ndarray, part: str | None) -> None:
        """Raise UserError if all clips of a part are too short to count. The message suggests shorter crops."""
        lengths = self.manifest.frames[clips]

        def remedy() -> str:
            settings = short_clips.suggested_settings(lengths, self.geometry)
            if settings is None:
                return "choose features with shorter crops"
            arguments = format_arguments({"sample_rate": self.geometry.sample_rate, **settings})
            in_python = f"{type(self.features).__name__}({arguments})"
            return f"choose shorter crops: {format_options(settings)}, or features={in_python}"

        short_clips.check_lengths(lengths, self.geometry, f"part {part}" if part else str(self.manifest.root), remedy)


def _init_thread(gpu: torch.device | None) -> None:
    """Select the maker's GPU in a new thread, which would use GPU 0 otherwise."""
    if gpu is not None:
        torch.cuda.set_device(gpu)
