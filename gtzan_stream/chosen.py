"""Chosen examples: make a batch of given examples, and compute the crops of a batch again."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor

from gtzan_stream.augment.base import Transform
from gtzan_stream.batch import Batch
from gtzan_stream.batch_maker import BatchMaker
from gtzan_stream.checks import MAX_INT, checked_int
from gtzan_stream.errors import UserError
from gtzan_stream.plan import Rows
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.views import BatchKind


def batch_of(maker: BatchMaker, kind: BatchKind, keys: Sequence[str], crops: Sequence[int] | int, epoch: int) -> Batch:
    """Make a batch of the examples with these keys and crop indices; see `Loader.batch_of`."""
    epoch = checked_int("epoch", epoch, 0, MAX_INT)
    clips = clips_of_keys(maker.manifest, keys)
    indices = [crops] * len(keys) if isinstance(crops, int) else list(crops)
    if len(indices) != len(keys):
        raise UserError(f"crops: expected one for each of {len(keys)} keys, got {len(indices)}")
    indices = [checked_int("crop", index, 0, 2**32 - 1) for index in indices]
    rows = Rows(clips, np.array(indices, np.int64), np.ones(len(clips), np.float32))
    batch, event = maker.make_rows(rows, epoch, kind)  # not mixed, as there is no other row to mix with
    maker.synchronize(batch, event)
    return batch


def compute_again(maker: BatchMaker, batch: Batch, transform: Transform, *, as_waveforms: bool = False) -> Tensor:
    """Compute the crops of a batch again, with any transform: their features, or the waveforms before the features."""
    transform = transform.to(maker.device)
    draw = transform.draw_for(batch.examples_by_view[0], type(transform).__name__)
    clips = clips_of_keys(maker.manifest, batch.keys)
    return maker.compute_crops(clips, batch.starts, transform, draw, as_waveforms=as_waveforms)


def clips_of_keys(manifest: Manifest, keys: Sequence[str]) -> np.ndarray:
    """Return the indices in the manifest of the clips with these keys: int64 [batch].

    Raises
    ------
    UserError
        If there is no such clip.
    """
    clips = pc.index_in(pa.array(keys, pa.string()), value_set=manifest.keys)
    if clips.null_count:
        missing = keys[int(np.flatnonzero(clips.is_null())[0])]
        raise UserError(
            f"{manifest.root} has no clip with the key {missing!r}: its keys are like {manifest.keys[0].as_py()!r}"
        )
    return clips.to_numpy().astype(np.int64)
