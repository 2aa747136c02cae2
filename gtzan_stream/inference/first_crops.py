"""Make a batch of the first crops of an epoch, in its order."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from gtzan_stream import crops
from gtzan_stream.batch import Batch
from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader

MAX_BATCHES = 1000
"""Batches that are searched for crops of every label."""


def first_crops(loader: Loader, epoch: int, count: int) -> Batch:
    """Make a batch of the first `count` crops of an epoch; fewer if it has fewer."""
    return _batch(loader, epoch, [(clip, crop) for clip, crop in islice(_in_order(loader, epoch), count)])


def first_of_each_label(loader: Loader, epoch: int, count: int) -> Batch:
    """Make a batch of the first crops of an epoch whose clips are long enough, label by label.

    Parameters
    ----------
    loader : Loader
    epoch : int
    count : int
        Number of crops, as equally many of each label as possible.

    Raises
    ------
    UserError
        If there is none.
    """
    manifest, geometry = loader.manifest, loader.features.geometry
    labels = np.unique(manifest.label[loader._plan(epoch).layout.clips]).tolist()
    per_label = -(-count // len(labels))
    usable = crops.is_long_enough(manifest.frames, geometry)
    found: dict[int, list[tuple[int, int]]] = {label: [] for label in labels}
    for clip, crop in islice(_in_order(loader, epoch), MAX_BATCHES * loader.batch_size):
        of_label = found[int(manifest.label[clip])]
        if len(of_label) < per_label and usable[clip]:
            of_label.append((clip, crop))
            if all(len(examples) == per_label for examples in found.values()):
                break
    turns = [examples[turn] for turn in range(per_label) for examples in found.values() if turn < len(examples)]
    if not turns:
        raise UserError("there is nothing to show: all clips are much shorter than a crop; choose fewer --frames")
    return _batch(loader, epoch, sorted(turns[:count], key=lambda example: int(manifest.label[example[0]])))


def _in_order(loader: Loader, epoch: int) -> Iterator[tuple[int, int]]:
    """Yield the clip and crop index of each example of an epoch."""
    plan = loader._plan(epoch)
    for batch in range(len(plan)):
        rows = plan.rows(batch, range(plan.layout.batch_size))
        is_example = rows.weights > 0
        yield from zip(rows.clips[is_example].tolist(), rows.crops[is_example].tolist(), strict=True)


def _batch(loader: Loader, epoch: int, examples: list[tuple[int, int]]) -> Batch:
    keys = [loader.manifest.keys[clip].as_py() for clip, _ in examples]
    return loader.batch_of(keys, [crop for _, crop in examples], epoch=epoch)
