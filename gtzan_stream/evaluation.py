"""Evaluation: stream the features of a part's clips in order, chunk by chunk and not augmented."""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from gtzan_stream import chosen, crops
from gtzan_stream.augment.compose import Identity
from gtzan_stream.batch import Batch
from gtzan_stream.epochs import Epochs
from gtzan_stream.errors import UserError
from gtzan_stream.layout import Layout
from gtzan_stream.plan import EpochPlan
from gtzan_stream.short_clips import check_part
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.views import BatchKind


class Evaluation(Epochs):
    """Iterable over the chunks of a part's clips, clip by clip; see `Loader.evaluation`. All epochs are the same.

    Attributes
    ----------
    labels : list of str
        Names of the classes: those of the loader.
    skipped : list of str
        Errors of the examples that this evaluation has skipped.
    """

    def __init__(self, loader: Epochs, labels: list[str], part: str | None, chunks: crops.Chunks) -> None:
        if chunks not in get_args(crops.Chunks):
            raise UserError(f"chunks must be 'study' or 'all', got {chunks!r}")
        manifest, maker = loader.manifest, loader._maker
        split = loader._settings["split"]
        clips = clips_of(manifest, split, part)
        self.labels = labels
        check_part(manifest, clips, maker.features, part)
        n_chunks = crops.chunks_per_clip(manifest.frames[clips], maker.geometry, chunks)

        layout = Layout.of_clips(clips, manifest.shard[clips], crops=n_chunks, batch_size=loader.batch_size)

        def plan(epoch: int) -> EpochPlan:
            return EpochPlan(layout, epoch, shuffle=False, shuffle_shards=1)  # one shard is needed at a time

        settings: dict[str, Any] = {
            "split": split,
            "part": part,
            "batch_size": loader.batch_size,
            "chunks": chunks,
            "manifest_digest": manifest.digest,
        }
        super().__init__(
            maker,
            BatchKind(Identity(), training=False, all_count=maker.all_count(clips)),
            plan,
            settings=settings,
            num_workers=loader.num_workers,
            ranks=loader._ranks,
        )

    def batch_of(self, keys: Sequence[str], chunks: Sequence[int]) -> Batch:
        """Make a batch of these chunks of clips. Raises UserError if there is no such clip."""
        return chosen.batch_of(self._maker, self._kind, keys, chunks, 0)


def clips_of(manifest: Manifest, split: str | None, part: str | None) -> np.ndarray:
    """Return the indices of the clips in a part of a split, or of all clips if neither is given."""
    if split is not None and part is not None:
        return manifest.part(split, part)
    splits = {name: ", ".join(parts) for name, parts in manifest.parts_by_split().items()}
    if part is not None:
        listed = "; ".join(f"{name} ({parts})" for name, parts in splits.items())
        raise UserError(f"part {part!r} needs a split: {manifest.root} has {listed}")
    if split is not None:
        manifest.labels_of(split)  # raises if there is no such split
        raise UserError(f"split {split!r} needs a part: one of {splits[split]}")
    return np.arange(len(manifest))
