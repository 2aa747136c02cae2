"""Make one batch: draw parameters, read segments, augment them, compute features.

`BatchMaker.make_batch` takes these steps:

1. Draw the parameters of the augmentation, on the host. They decide which samples are needed, so this comes first.
2. Choose where each crop starts and which segment of its clip it reads (`gtzan_stream.crops`).
3. Read the segments, augment them and compute features: row by row on the CPU (`gtzan_stream.cpu_rows`), the whole
   batch at once on a GPU (`gtzan_stream.device_rows`).
4. With mixup, mix each row with its partner. Where the partner belongs to another rank, its row is made here too.

The consumer's thread calls `make_batch` if `num_workers` is 0. Otherwise the two threads of `prefetch_executor` call
it, a few batches ahead: for a GPU, one reads the samples of a batch while the other launches the batch before it.

On CUDA, steps 3 and 4 are queued in the maker's own stream, so that they overlap with the training step, and
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

from gtzan_stream import crops, mixup
from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw, Examples, view_seed
from gtzan_stream.augment.rows import can_use_steps
from gtzan_stream.batch import Batch
from gtzan_stream.cpu_rows import CpuRows
from gtzan_stream.device_rows import DeviceRows
from gtzan_stream.dsp.backend import backend
from gtzan_stream.dsp.parameters import to_device
from gtzan_stream.geometry import Geometry
from gtzan_stream.plan import EpochPlan, Rows, rows_of_rank
from gtzan_stream.row_errors import RowErrors
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
from gtzan_stream.threads import thread_pool
from gtzan_stream.views import BatchKind, View, draw_views

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
    n_rows : int
        Rows of one example's features, such as mel bands.
    num_workers : int
        Threads that read, if there are fewer cores.
    seed : int
    on_error : "fail" or "skip"
        What to do with an unreadable example; see `Loader`.

    Attributes
    ----------
    seed, n_rows, n_classes, closed : int and bool
    prefetch_executor : Executor
        Two threads, for making batches ahead of their consumer.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        labels: Sequence[str],
        features: nn.Module,
        device: torch.device,
        n_rows: int,
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
                n_other,
                len(manifest),
                self.manifest.sample_rate,
            )
        self.seed, self.n_rows, self.n_classes, self._skip = seed, n_rows, len(labels), on_error == "skip"
        self.closed = False
        # Class of each label of the manifest; -1 for labels that the split does not have.
        self._class_index = np.array([labels.index(name) if name in labels else -1 for name in manifest.labels])
        self._reader = ClipReader(self.manifest)
        self._device_rows = DeviceRows(self._reader, features, device, num_workers)
        self._cpu_rows = CpuRows(self._reader, features, n_rows, num_workers)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        gpu = None if self._stream is None else self._stream.device
        # A bound method as initializer would keep the maker alive.
        self.prefetch_executor = thread_pool(2, "gtzan-stream-prefetch", partial(_init_thread, gpu))

    def close(self) -> None:
        """Close the shards and end the threads. No batches can be made afterwards."""
        self.closed = True
        self._reader.close()
        self._device_rows.close()
        self._cpu_rows.close()
        self.prefetch_executor.shutdown(wait=False, cancel_futures=True)

    def make_batch(
        self, plan: EpochPlan, index: int, kind: BatchKind, rank: int = 0, world_size: int = 1
    ) -> tuple[Batch, Any]:
        """Make one rank's rows of the global batch `index` of an epoch.

        Returns
        -------
        Batch
        torch.cuda.Event or None
            On CUDA, the event that marks when the tensors are ready; pass it to `synchronize`.
        """
        own, partner = np.asarray(rows_of_rank(rank, world_size, plan.layout.batch_size)), None
        numbers = own
        if kind.mixup:
            numbers, partner = mixup.with_partners(own, plan.layout.batch_size, plan.layout.n_groups)
        n_counted = self._count(plan, index, kind) if world_size > 1 else None
        return self.make_rows(plan.rows(index, numbers), plan.epoch, kind, partner, world_size, n_counted)

    # Inference-mode tensors cannot be modified by other threads or used in autograd, so turn the mode off here.
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def make_rows(
        self,
        rows: Rows,
        epoch: int,
        kind: BatchKind,
        partner: np.ndarray | None = None,
        world_size: int = 1,
        n_counted: int | None = None,
    ) -> tuple[Batch, Any]:
        """Make a batch of these rows; see `make_batch`.

        With mixup, the batch has the first of `rows`, each mixed with the row `partner`. `n_counted` is the number of
        rows of the global batch that count, by default those of `rows`.
        """
        n_own = len(rows.clips) if partner is None else len(partner)
        views = self._views(rows, epoch, kind)
        weights = _weights(rows, views)
        n_counted = max(weights.sum() if n_counted is None else n_counted, 1)
        labels = self._class_index[self.manifest.label[rows.clips]]
        errors = RowErrors(self.manifest, rows, skip=self._skip)
        with torch.cuda.stream(self._stream):
            of_views = [self._features(rows.clips, view.segments, kind.transform, view.draw, errors) for view in views]
            features = of_views[0] if kind.views == 1 else torch.stack(of_views, 1)
            weights[list(errors.messages)] = 0
            host = {
                "labels": labels[:n_own],
                "weights": weights[:n_own],
                "loss_weights": weights[:n_own] * (world_size / n_counted),
            }
            tensors = {name: to_device(array, self.device) for name, array in host.items()}
            tensors["targets"] = tensors["labels"]
            if partner is not None:
                share = mixup.draw_shares(views[0].examples, kind.mixup)[:n_own]
                share = np.where(weights[partner] > 0, share, 1.0).astype(np.float32)
                features, tensors["targets"] = self._mix(features, labels, partner, share)
            event = None if self._stream is None else self._stream.record_event()
        batch = Batch(
            features=features,
            **tensors,
            keys=[self.manifest.keys[clip].as_py() for clip in rows.clips[:n_own].tolist()],
            crops=rows.crops[:n_own],
            starts=views[0].starts[:n_own],
            valid_frames=views[0].segments.valid_frames[:n_own],
            epoch=epoch,
            skipped=tuple(message for row, message in sorted(errors.messages.items()) if row < n_own),
            transform=kind.transform,
            seed=self.seed,
            n_views=kind.views,
        )
        if self.closed:  # rows may have been skipped because their shards were closed
            raise RuntimeError("the loader was closed while it made a batch")
        return batch, event

    def _views(self, rows: Rows, epoch: int, kind: BatchKind) -> list[View]:
        """Draw the parameters of each view of some rows, and find where its crops start and what they read."""
        examples = [
            Examples.of(
                self.manifest.key_hash[rows.clips],
                seed=view_seed(self.seed, view),
                epoch=epoch,
                crops=rows.crops.astype(np.uint32),
            )
            for view in range(kind.views)
        ]
        return draw_views(examples, self.manifest.frames[rows.clips], self.geometry, kind)

    def _features(
        self, clips: np.ndarray, segments: crops.Segments, transform: Transform, draw: Draw, errors: RowErrors
    ) -> Tensor:
        """Compute the features [batch, row, frame] of segments of clips."""
        return self._rows_for(transform).compute(clips, segments, transform, draw, errors)

    def _rows_for(self, transform: Transform) -> CpuRows | DeviceRows:
        on_cpu = self.device.type == "cpu" and backend(torch.empty(0, dtype=torch.float32)) == "numba"
        return self._cpu_rows if on_cpu and can_use_steps(transform) else self._device_rows

    def _count(self, plan: EpochPlan, index: int, kind: BatchKind) -> int:
        """Count the rows of a global batch, on all ranks, that are no fillers and have enough audio."""
        if kind.all_count:
            return plan.n_examples(index)
        rows = plan.rows(index, range(plan.layout.batch_size))
        return int(_weights(rows, self._views(rows, plan.epoch, kind)).sum())

    def _mix(
        self, features: Tensor, labels: np.ndarray, partner: np.ndarray, share: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """Mix the first ``len(partner)`` rows, with the share `share`, with the rows `partner`."""
        own = len(partner)
        index, shares, classes = (to_device(array, self.device) for array in (partner, share, labels))
        mixed = mixup.mix(features[:own], features[index], shares)
        return mixed, mixup.mix_labels(classes[:own], classes[index], shares, self.n_classes)

    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def compute_crops(
        self, clips: np.ndarray, starts: np.ndarray, transform: Transform, draw: Draw, *, as_waveforms: bool = False
    ) -> Tensor:
        """Compute crops that start at given samples: features, or the waveforms [batch, `read_length`] before them."""
        rate, source = transform.rate(draw), transform.source(self.geometry.read_length, draw)
        lengths = self.manifest.frames[clips]
        segments = crops.segments(starts, lengths, self.geometry, rate, source.before, source.length)
        errors = RowErrors(self.manifest, Rows(clips, draw.crops, np.ones(len(clips))), skip=self._skip)
        rows = self._rows_for(transform)
        compute = rows.waveforms if as_waveforms else rows.compute
        return compute(clips, segments, transform, draw, errors)

    def synchronize(self, batch: Batch, event: Any) -> None:
        """Make the current CUDA stream wait until the batch is ready, and log its skipped examples."""
        if event is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(event)
            # The tensors were allocated in the maker's stream. Their memory must not be reused before the current
            # stream is done with it.
            for tensor in batch.tensors.values():
                tensor.record_stream(current)
        for message in batch.skipped:
            _log.warning("skipped: %s", message)

    def all_count(self, clips: np.ndarray) -> bool:
        """Return whether all crops and chunks of these clips have enough audio to count."""
        return bool(crops.is_long_enough(self.manifest.frames[clips], self.geometry).all())


def _weights(rows: Rows, views: Sequence[View]) -> np.ndarray:
    """Return 1 for rows that are no fillers and have enough audio in all views, else 0: float32 [rows]."""
    return rows.weights * np.logical_and.reduce([view.segments.has_enough_audio for view in views])


def _init_thread(gpu: torch.device | None) -> None:
    """Select the maker's GPU in a new thread, which would use GPU 0 otherwise."""
    if gpu is not None:
        torch.cuda.set_device(gpu)
