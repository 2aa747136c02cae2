"""The service: epochs of batches, made ahead of the trainer that consumes them, and resumed at any of them."""

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gtzan_stream import crops
from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.compose import Identity
from gtzan_stream.augment.recipes import recipe
from gtzan_stream.batches import Batch, BatchMaker
from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel
from gtzan_stream.plan import EpochPlan
from gtzan_stream.prefetch import prefetch
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.threads import threads

_PREFETCH = 3  # batches made ahead of the consumer
STUDY_SAMPLES = 8 * 128 * 512  # the study evaluates the first 8 chunks of 128 frames


class Loader:
    """Stream augmented features of music clips from WebDataset shards.

    Every iteration is one epoch, and the next iteration the next epoch; an iteration that was broken off before its
    last batch is begun again. The order of an epoch and every augmentation are pure functions of (seed, epoch, key,
    crop index): equal for any `workers`, any number of ranks, before and after a resume, and on any device.

    Parameters
    ----------
    shards : path or address
        Folder with shards and their manifest, made by ``gtzan-stream pack`` or ``demo``. Shards at an address that
        fsspec knows (s3://, gs://, https://, hf://) come to a local cache ahead of need.
    split, part : str
        Which clips, for instance "filtered" and "train". All clips where `split` is None.
    batch_size : int
        Rows of a global batch; rank r of W gets rows ``r::W``, so it must be divisible by W.
    augment : str or Transform
        A recipe of `gtzan_stream.augment.recipes`, or a transform of your own. Evaluations are not augmented.
    features : LogMel or RawWaveform
        What to compute, and with it the length of a crop.
    device : str or torch.device
        Where augmentation and features are computed. On CUDA, in a stream of their own.
    workers : int
        Threads that read. 0 makes each batch when it is asked for; 1 or more make batches ahead, in the background.
    seed : int
    crops_per_clip : int
        Samples of each clip in an epoch of training.
    rank, world_size : int, optional
        This process among those that train together; by default, what `torch.distributed` says.
    on_error : "fail" or "skip"
        What a sample that cannot be read does: raise `BadSample`, or become a row of weight 0 noted in `skipped`.
    eval : "study", "clip" or None
        None for training: shuffled random crops. "study": the first 8 chunks of every clip, as the study did. "clip":
        every chunk.
    shuffle_window : int, optional
        Shards whose samples are mixed with one another; see `EpochPlan`. Of remote shards, twice as many must fit the
        cache.

    Attributes
    ----------
    labels : list of str
        Names of the classes that the split has.
    skipped : list of str
        What was wrong with samples that could not be read, since the loader was made.

    Raises
    ------
    UserError
        If the shards, split, part or recipe do not exist, or a number does not fit.
    """

    def __init__(
        self,
        shards: str | Path,
        *,
        split: str | None = None,
        part: str = "train",
        batch_size: int = 16,
        augment: str | Transform = "study",
        features: nn.Module | None = None,
        device: str | torch.device = "cpu",
        workers: int = 1,
        seed: int = 0,
        crops_per_clip: int = 8,
        rank: int | None = None,
        world_size: int | None = None,
        on_error: str = "fail",
        eval: str | None = None,
        shuffle_window: int | None = None,
    ) -> None:
        self.rank, self.world_size = _ranks(rank, world_size)
        if batch_size < 1 or batch_size % self.world_size:
            raise UserError(f"batch_size must be divisible by the {self.world_size} ranks, got {batch_size}")
        if workers < 0:
            raise UserError(f"workers must be 0 or more threads, got {workers}")
        if crops_per_clip < 1:
            raise UserError(f"crops_per_clip must be at least 1, got {crops_per_clip}")
        if shuffle_window is not None and shuffle_window < 1:
            raise UserError(f"shuffle_window must be at least 1 shard, or None for all, got {shuffle_window}")
        if on_error not in ("fail", "skip"):
            raise UserError(f"on_error must be 'fail' or 'skip', got {on_error!r}")
        if eval not in (None, "study", "clip"):
            raise UserError(f"eval must be 'study', 'clip' or None, got {eval!r}")
        self.manifest = Manifest.open(shards)
        self.device = torch.device(device)
        self.features: Any = (LogMel() if features is None else features).to(self.device)
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed
        self.on_error = on_error
        self.skipped: list[str] = []
        self.epoch = 0
        self._split, self._part, self._eval = split, part, eval
        self._crops_per_clip = int(crops_per_clip)
        self._consumed = self._start = 0  # samples yielded of this epoch; those a resume begins after
        everything = np.arange(len(self.manifest))
        self._clips = everything if split is None else self.manifest.part(split, part)
        self.labels = self.manifest.labels if split is None else self.manifest.labels_of(split)
        transform = recipe(augment) if isinstance(augment, str) else augment
        self.transform = (Identity() if eval else transform).to(self.device)
        self._maker = BatchMaker(
            self.manifest,
            labels=self.labels,
            transform=self.transform,
            features=self.features,
            device=self.device,
            workers=workers,
            seed=seed,
            training=eval is None,
            on_error=on_error,
        )
        self._ahead = threads(1, "gtzan-stream-prefetch", self._maker.enter_thread)
        if on_error == "fail":
            self._maker.check_rate(self._clips)
        self._window = shuffle_window if eval is None else 1  # an evaluation reads shard after shard
        self._length = len(self._make_plan())
        self.manifest.folder.check_window(None if self._window is None else 2 * self._window)  # one read, one ahead

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of `epoch`: at its start, or where `load_state_dict` has left off in it."""
        if epoch != self.epoch:
            self.epoch, self._start, self._consumed = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Say where the loader is: what it has yielded, not what it has prepared. Small, and plain JSON."""
        return {
            "seed": self.seed,
            "epoch": self.epoch,
            "samples_consumed": self._consumed,
            "batch_size": self.batch_size,
            "crops_per_clip": self._crops_per_clip,
            "split": self._split,
            "part": self._part,
            "eval": self._eval,
            "shuffle_window": self._window,
            "manifest_digest": self.manifest.digest,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken, with any number of workers and any number of ranks.

        Raises
        ------
        UserError
            If the shards or a setting that the order depends on have changed since.
        """
        now = self.state_dict()
        if unknown := sorted(state.keys() ^ now.keys()):
            raise UserError(f"a loader's state has the keys {', '.join(now)}; these differ: {', '.join(unknown)}")
        if state["manifest_digest"] != self.manifest.digest:
            raise UserError(
                f"the state was taken on other clips than those of {self.manifest.folder.address()}: give the shards "
                "that it was taken on, or begin anew without it"
            )
        place = ("epoch", "samples_consumed")
        for name, expected in now.items():
            if name not in place and state[name] != expected:
                raise UserError(
                    f"the state was taken with {name}={state[name]!r}, this loader has {expected!r}: make the loader "
                    f"with the old value, or begin anew without the state"
                )
        self.epoch = state["epoch"]
        self._consumed = self._start = state["samples_consumed"]

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the epoch, from its start or from where `load_state_dict` has left off."""
        plan, epoch = self._make_plan(), self.epoch  # of this iteration, whatever is set while it runs
        first = self._start // self.batch_size
        self._consumed, self._start = self._start, 0
        batches = self._prepared(plan, epoch, first)
        if self.workers:
            batches = prefetch(batches, _PREFETCH, self._ahead)
        for number, (batch, event) in enumerate(batches, first + 1):
            self._maker.hand_over(batch, event)
            self.skipped += batch.skipped
            if number < len(plan):
                self._consumed = number * self.batch_size
            else:  # before the last batch is handed over: who counts batches never asks for one more
                self.epoch, self._consumed = epoch + 1, 0
            yield batch

    def _make_plan(self) -> EpochPlan:
        if self._eval is None:
            n_crops: int | np.ndarray = self._crops_per_clip
        else:
            limit = STUDY_SAMPLES if self._eval == "study" else None
            n_crops = crops.chunks_per_clip(self.manifest.frames[self._clips], self.features, limit)
        return EpochPlan(
            clips=self._clips,
            shards=self.manifest.shard[self._clips],
            crops=n_crops,
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=self.epoch,
            shuffle=self._eval is None,
            window=self._window,
        )

    def _prepared(self, plan: EpochPlan, epoch: int, first: int) -> Iterator[tuple[Batch, Any]]:
        """Make the batches from number `first` on, while remote shards of this window and the next arrive."""
        asked = -1
        coming: list[Future[Any]] = []
        try:
            for number in range(first, len(plan)):
                window = plan.window_of(number)
                if window != asked:
                    asked = window
                    shards = np.concatenate([plan.shards_of(window), plan.shards_of(window + 1)])
                    names = [self.manifest.shards[shard].name for shard in shards]
                    coming = [shard for shard in coming if not shard.done()] + self.manifest.folder.prefetch(names)
                yield self._maker.make(plan.rows(number, self.rank, self.world_size), epoch)
        finally:
            for shard in coming:  # who leaves an epoch, or the program, shall not wait for the rest of the set
                shard.cancel()


def _ranks(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if (rank is None) != (world_size is None):
        raise UserError("rank and world_size go together: give both or neither")
    if rank is None or world_size is None:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        return (torch.distributed.get_rank(), torch.distributed.get_world_size()) if distributed else (0, 1)
    if not 0 <= rank < world_size:
        raise UserError(f"rank must be in 0..{world_size - 1}, got {rank}")
    return rank, world_size
