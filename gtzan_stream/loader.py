"""Loader: stream augmented features for training from shards."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from gtzan_stream import chosen, crops
from gtzan_stream import features as feature
from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.compose import Identity
from gtzan_stream.augment.recipes import as_transform
from gtzan_stream.batch import Batch
from gtzan_stream.batch_maker import BatchMaker
from gtzan_stream.checks import MAX_SEED, checked_device, checked_int, checked_number
from gtzan_stream.distributed import checked_ranks
from gtzan_stream.epochs import Epochs
from gtzan_stream.errors import UserError
from gtzan_stream.evaluation import Evaluation, clips_of
from gtzan_stream.features import LogMel
from gtzan_stream.layout import Layout
from gtzan_stream.plan import EpochPlan
from gtzan_stream.short_clips import check_part
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.threads import limit_torch_after_fork
from gtzan_stream.views import MAX_VIEWS, BatchKind


class Loader(Epochs):
    """An iterable over batches of augmented features, computed from music clips in WebDataset shards.

    Each iteration yields the batches of one epoch, and the next iteration those of the next epoch. If an iteration
    stops before its last batch, the next one repeats the epoch. The order of an epoch and every augmentation are pure
    functions of (seed, epoch, key, crop index). They are the same for any `num_workers`, any number of ranks and any
    device, and after a resume.

    A loader holds open files and threads until it is closed or garbage-collected. It is a context manager.

    Parameters
    ----------
    shards : path, address or Manifest
        Folder with shards and their manifest, made by ``gtzan-stream pack`` or ``demo``. Shards at an address that
        fsspec supports (s3://, gs://, https://, hf://) are downloaded to a local cache before they are needed.
    split, part : str, optional
        Which clips to use, for instance "filtered" and "train". Give both, or neither for all clips.
    batch_size : int
        Rows of a global batch. Row i belongs to rank ``i * W // batch_size`` of W ranks, so each has a contiguous run
        of rows. W must not exceed it, but need not divide it.
    augment : str or Transform
        A recipe of `gtzan_stream.augment.recipes`, ``module:function`` for one of your own, or a transform.
    features : Module
        The features to compute; their geometry sets the length of a crop. Default: `LogMel` at the shards' sample rate.
    device : str or torch.device
        Where augmentation and features are computed. On CUDA they run in a stream of their own.
    num_workers : int
        0 makes each batch when it is requested; 1 or more make batches ahead, in the background. Rows are read (and on
        the CPU computed) by as many threads as there are cores, or by `num_workers` if that is more, because threads
        that read slowly wait most of the time.
    seed : int
    crops_per_clip : int
        Random crops of each clip in an epoch.
    rank, world_size : int, optional
        Index of this process and number of processes that train together. By default those of `torch.distributed` when
        an epoch begins.
    on_error : "fail" or "skip"
        What to do if an example cannot be read or augmented: raise `BadSample`, or set weight 0 and add to `skipped`.
    shuffle_shards : int, optional
        How many shards' examples are mixed with each other; see `EpochPlan`. The cache of remote shards must hold twice
        as many.
    shard_groups : int
        Groups of shards, so that each machine downloads only a part of a remote set: row i of a batch is from group
        ``i * shard_groups // batch_size``; see `gtzan_stream.layout`. Must divide `batch_size`. A multiple of the
        number of ranks suits best. Examples are shuffled inside their group only.
    views : int
        Augmentations of each example, at about the same place of its clip, for self-supervised training. With more than
        one, a batch's features are [batch, views, row, frame].
    mixup : float
        Mix each example with another of its batch, and their labels: see `gtzan_stream.mixup`. An example keeps the
        share max(s, 1 - s) for s from Beta(mixup, mixup) [1]_. A batch's `targets` are then class probabilities. 0 for
        no mixtures.

    Attributes
    ----------
    labels : list of str
        Names of the split's classes.
    n_rows : int
        Rows of one example's features, such as mel bands.
    skipped : list of str
        Errors of the examples that were skipped since the loader was made.

    Raises
    ------
    UserError
        If the shards, split, part, recipe or device do not exist, an argument has a wrong type or value, or all clips
        are too short to count.

    References
    ----------
    .. [1] H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR 2018.

    Examples
    --------
    Train on one part and evaluate on another::

        with Loader("shards/", split="filtered", part="train", augment="study") as loader:
            for epoch in range(10):
                for features, targets in loader: ...
                for features, labels in loader.evaluation("valid"): ...
    """

    def __init__(
        self,
        shards: str | Path | Manifest,
        *,
        split: str | None = None,
        part: str | None = None,
        batch_size: int = 16,
        augment: str | Transform = "study",
        features: nn.Module | None = None,
        device: str | torch.device = "cpu",
        num_workers: int = 1,
        seed: int = 0,
        crops_per_clip: int = 8,
        rank: int | None = None,
        world_size: int | None = None,
        on_error: str = "fail",
        shuffle_shards: int | None = None,
        shard_groups: int = 1,
        views: int = 1,
        mixup: float = 0.0,
    ) -> None:
        limit_torch_after_fork()
        ranks = checked_ranks(rank, world_size)
        batch_size = checked_int("batch_size", batch_size, 1, 2**20)
        crops_per_clip = checked_int("crops_per_clip", crops_per_clip, 1)
        num_workers, seed = checked_int("num_workers", num_workers), checked_int("seed", seed, maximum=MAX_SEED)
        if shuffle_shards is not None:
            shuffle_shards = checked_int("shuffle_shards", shuffle_shards, 1)
        shard_groups, views = checked_int("shard_groups", shard_groups, 1), checked_int("views", views, 1, MAX_VIEWS)
        mixup = checked_number("mixup", mixup)
        if on_error not in ("fail", "skip"):
            raise UserError(f"on_error must be 'fail' or 'skip', got {on_error!r}")
        device = checked_device(device)
        transform = as_transform(augment).to(device)
        # close() closes a transform that was built here, but not one that was passed in.
        self._own_transform = transform if isinstance(augment, str) else Identity()
        manifest = shards if isinstance(shards, Manifest) else Manifest.open(shards)
        features = LogMel(sample_rate=manifest.sample_rate) if features is None else features
        features = feature.check(features).to(device)
        clips = clips_of(manifest, split, part)
        self.labels = manifest.labels if split is None else manifest.labels_of(split)
        self.split, self.on_error, self.seed = split, on_error, seed
        self.n_rows = feature.n_rows(features, device)
        maker = BatchMaker(
            manifest,
            labels=self.labels,
            features=features,
            device=device,
            n_rows=self.n_rows,
            num_workers=num_workers,
            seed=seed,
            on_error=on_error,
        )
        check_part(maker.manifest, clips, features, part)
        numbers = {"crops": crops_per_clip, "batch_size": batch_size, "n_groups": shard_groups, "seed": seed}
        try:
            layout = Layout.of_clips(clips, manifest.shard[clips], **numbers)
        except ValueError as error:
            raise UserError(str(error)) from None

        def plan(epoch: int) -> EpochPlan:
            return EpochPlan(layout, epoch, shuffle_shards=shuffle_shards)

        kind = BatchKind(transform, training=True, all_count=maker.all_count(clips), views=views, mixup=mixup)
        settings = {
            "split": split,
            "part": part,
            "batch_size": batch_size,
            "crops_per_clip": crops_per_clip,
            "seed": seed,
            "shuffle_shards": shuffle_shards,
            "shard_groups": shard_groups,
            "manifest_digest": manifest.digest,
        }
        super().__init__(maker, kind, plan, settings=settings, num_workers=num_workers, ranks=ranks)

    def evaluation(self, part: str | None = None, *, chunks: crops.Chunks = "study") -> "Evaluation":
        """Return an iterable over the chunks of a part's clips, in order and not augmented.

        It shares this loader's shards, split, features, device, batch size, workers and ranks, and is closed with it.

        Parameters
        ----------
        part : str, optional
            Part of the loader's split. Without a split, leave it out to get all clips.
        chunks : "study" or "all"
            Which chunks of each clip to use: those in its first 23.8 s, as in the study, or all.

        Raises
        ------
        UserError
            If the split has no such part, or `chunks` has another value.
        """
        return Evaluation(self, self.labels, part, chunks)

    def batch_of(self, keys: Sequence[str], crops: Sequence[int] | int = 0, *, epoch: int = 0) -> Batch:
        """Make a batch of chosen examples of an epoch, as training gets them, but not mixed.

        Parameters
        ----------
        keys : sequence of str
            Keys of any clips of the shards.
        crops : sequence of int, or int for all
            Crop indices; those of an epoch are 0 to ``crops_per_clip - 1``.

        Raises UserError if a key does not exist, a number is out of range, or the loader is closed.
        """
        self._check_open()
        return chosen.batch_of(self._maker, self._kind, keys, crops, epoch)

    def transformed(self, batch: Batch, transform: Transform) -> Tensor:
        """Compute the features [batch, row, frame] of a batch's crops with another transform.

        Raises UserError if the batch is from other shards, or the loader is closed.
        """
        self._check_open()
        return chosen.compute_again(self._maker, batch, transform)

    def unaugmented(self, batch: Batch) -> Tensor:
        """Compute the features [batch, row, frame] of a batch's crops without augmentation; see `transformed`."""
        return self.transformed(batch, Identity())

    def waveforms(self, batch: Batch, *, augmented: bool = True) -> Tensor:
        """Compute the waveforms that the features of a batch were computed from: what the network hears.

        Parameters
        ----------
        batch : Batch
            Of this loader or of its evaluations.
        augmented : bool
            False for the same crops without augmentation. (For another one, use ``replace(batch, transform=...)``.)

        Returns
        -------
        Tensor [batch, ``features.geometry.read_length``], float32
            Full scale at +/-1. A crop begins at sample ``geometry.context``. Of several views, the first; not mixed.

        Raises
        ------
        UserError
            If the batch is from other shards, or the loader is closed.
        """
        self._check_open()
        transform = batch.transform if augmented else Identity()
        return chosen.compute_again(self._maker, batch, transform, as_waveforms=True)

    def close(self) -> None:
        """End the loader's threads, and close its shards and, if `augment` was a name, its transform.

        A transform object that was passed in stays open, because other loaders may use it. Iterating over a closed
        loader raises UserError.
        """
        super().close()
        self._maker.close()
        for transform in self._own_transform.modules():
            if isinstance(transform, Transform):
                transform.close()
