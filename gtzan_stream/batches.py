"""Make one batch: draw, read the rows' segments, copy them to the device, augment them, compute features."""

import logging
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gtzan_stream import crops, short_clips
from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw, Examples
from gtzan_stream.batch import Batch
from gtzan_stream.dsp.backend import for_rows
from gtzan_stream.errors import BadSample
from gtzan_stream.geometry import Geometry
from gtzan_stream.plan import Rows
from gtzan_stream.settings import as_arguments, as_options
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
from gtzan_stream.threads import threads

_log = logging.getLogger(__name__)


class BatchMaker:
    """Makes the batch of any rows of a plan: the same rows of an epoch always give the same batch.

    Parameters
    ----------
    manifest : Manifest
    labels : sequence of str
        Names of the classes, in the order that batches' labels count them.
    features : Module
        With a `geometry`, on `device`.
    device : torch.device
        On CUDA, augmentation and features run in a stream of the maker's own.
    num_workers : int
        Threads that read.
    seed : int
    on_error : "fail" or "skip"
        As of `Loader`.

    Attributes
    ----------
    ahead : Executor
        One thread, to make batches ahead of their consumer.
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
                "%d of %d clips have another sample rate than the features' %d Hz: they are decoded whole and "
                "resampled when they are read; shards packed at that rate are read faster",
                *(n_other, len(manifest), self.manifest.sample_rate),
            )
        self.seed, self.on_error = seed, on_error
        self.closed = False
        self._label_codes = np.array([labels.index(name) if name in labels else -1 for name in manifest.labels])
        self._reader = ClipReader(self.manifest)
        self._readers = threads(num_workers, "gtzan-stream-reader") if num_workers > 1 else None
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        gpu = None if self._stream is None else self._stream.device
        self.ahead = threads(
            1, "gtzan-stream-prefetch", partial(_init_thread, gpu)
        )  # a bound method would keep the maker alive

    def close(self) -> None:
        """Close the shards and end the threads. No batch can be made afterwards."""
        self.closed = True
        self._reader.close()
        for pool in (self.ahead, self._readers):
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)

    # Inference-mode tensors cannot be modified by other threads or used in autograd, so turn the mode off here.
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def make(self, rows: Rows, epoch: int, transform: Transform, *, training: bool) -> tuple[Batch, Any]:
        """Make a batch of an epoch.

        Parameters
        ----------
        rows : Rows
        epoch : int
        transform : Transform
        training : bool
            Random crops; otherwise each row is the chunk of its clip that has its crop's number.

        Returns
        -------
        Batch
        torch.cuda.Event or None
            On CUDA, the event after which the batch's tensors are ready; see `synchronize`.
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
        weights = rows.weights * segments.counted
        weights[list(errors)] = 0
        host = {"labels": self._label_codes[self.manifest.label[rows.clips]], "weights": weights.astype(np.float32)}
        with torch.cuda.stream(self._stream):
            features = self._featurize(self._copy(buffer), transform, draw, segments.valid_frames)
            tensors = {name: self._copy(torch.from_numpy(array)) for name, array in host.items()}
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
    def untouched(self, clips: np.ndarray, starts: np.ndarray) -> Tensor:
        """Features [batch, row, frame] of crops as they lie in their clips, without augmentation."""
        segments = crops.segments(starts, self.manifest.frames[clips], self.geometry)
        buffer, _ = self._read(clips, segments)
        features = self.features(self._widened(buffer.to(self.device)))
        return self._silence_padding(features, segments.valid_frames)

    def _read(self, clips: np.ndarray, segments: crops.Segments) -> tuple[Tensor, dict[int, str]]:
        """Read every row's segment into one buffer [batch, time]; also say which rows failed, and why.

        What follows a row that is shorter than the buffer is undefined.
        """
        shape = (len(clips), int(segments.length.max()))
        dtype = torch.int16 if self._reader.dtype == np.int16 else torch.float32
        buffer = _uninitialized(shape, dtype, pin_memory=self._stream is not None)
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

        if self._readers is None:
            for row in range(len(array)):
                read(row)
        else:
            list(self._readers.map(read, range(len(array))))
        return buffer, errors

    def _copy(self, tensor: Tensor) -> Tensor:
        if self._stream is None:
            return tensor
        return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(self.device, non_blocking=True)

    def _featurize(self, waveform: Tensor, transform: Transform, draw: Draw, valid_frames: np.ndarray) -> Tensor:
        length = np.full(len(waveform), self.geometry.read_length)
        features = self.features(transform.apply(self._widened(waveform), draw, length))
        return self._silence_padding(features, valid_frames)

    def _widened(self, waveform: Tensor) -> Tensor:
        return widen(waveform) if waveform.dtype == torch.int16 else waveform

    def _silence_padding(self, features: Tensor, valid_frames: np.ndarray) -> Tensor:
        if valid_frames.min() >= self.geometry.frames:
            return features
        valid = self._copy(torch.from_numpy(valid_frames))[:, None]
        padding = torch.arange(self.geometry.frames, device=self.device) >= valid  # [batch, frame]
        return features.masked_fill(padding[:, None], self.geometry.silence)

    def synchronize(self, batch: Batch, event: Any) -> None:
        """Make the current CUDA stream wait until the batch is ready, and log what was skipped."""
        if event is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(event)
            for tensor in (batch.features, batch.labels, batch.weights):
                tensor.record_stream(current)
        for message in batch.skipped:
            _log.warning("skipped: %s", message)

    def check_clips(self, clips: np.ndarray, part: str | None) -> None:
        """Check that one at least of these clips, of `part`, is long enough to count.

        Raises
        ------
        UserError
            If none is; the sentence proposes features that suit them.
        """
        lengths = self.manifest.frames[clips]

        def remedy() -> str:
            settings = short_clips.suggested_settings(lengths, self.geometry)
            if settings is None:
                return "choose features of shorter crops"
            arguments = as_arguments({"sample_rate": self.geometry.sample_rate, **settings})
            in_python = f"{type(self.features).__name__}({arguments})"
            return f"choose shorter crops: {as_options(settings)}, or features={in_python}"

        short_clips.check(lengths, self.geometry, f"part {part}" if part else str(self.manifest.root), remedy)


def _init_thread(gpu: torch.device | None) -> None:
    """Choose the maker's GPU in a new thread, which would open GPU 0 otherwise."""
    if gpu is not None:
        torch.cuda.set_device(gpu)


def widen(pcm: Tensor) -> Tensor:
    """Turn 16-bit samples into float32 at +/-1; on the CPU by our own threads, which takes a fifth of torch's time."""
    if pcm.device.type != "cpu":
        return pcm.to(torch.float32).mul_(1 / 32768)
    waveform = _uninitialized(tuple(pcm.shape), torch.float32)
    samples, out, scale = pcm.numpy(), waveform.numpy(), np.float32(1 / 32768)
    for_rows(lambda row: np.multiply(samples[row], scale, out=out[row], dtype=np.float32), len(pcm))
    return waveform


def _uninitialized(shape: tuple[int, ...], dtype: torch.dtype, *, pin_memory: bool = False) -> Tensor:
    """A tensor whose storage is up to a quarter larger, so that few sizes occur.

    Buffers of many sizes fragment the heap and are mapped again for each batch.
    """
    n = math.prod(shape)
    step = 1 << max(n.bit_length() - 3, 0)
    room = torch.empty(-(-n // step) * step, dtype=dtype, pin_memory=pin_memory)
    return room[:n].view(shape)
