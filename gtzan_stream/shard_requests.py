"""Download the shards of a remote set before the batches that read them, one block ahead."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Condition
from typing import Any

import numpy as np

from gtzan_stream.plan import EpochPlan
from gtzan_stream.store.manifest import Manifest


class ShardRequests:
    """Requests the shards of an epoch's batches: those of a block and of the next when the block's first batch begins.

    Two batches are made at once, but a block is requested only when all batches before it are made. The cache need hold
    the shards of two blocks only, and a third could take the place of shards that are still to be read.

    Parameters
    ----------
    manifest : Manifest
    plan : EpochPlan
    rows : range
        The rows of each batch that are made here.
    first : int
        Index of the first batch that is made. Each later one must begin after those before it.
    """

    def __init__(self, manifest: Manifest, plan: EpochPlan, rows: range, first: int) -> None:
        self._manifest, self._plan, self._rows = manifest, plan, rows
        self._begun: set[tuple[int, int]] = set()  # group and block
        self._downloads: list[Future[Any]] = []
        self._n_made, self._changed = first, Condition()
        self._made: set[int] = set()  # after the first that is not
        self._closed = False

    @contextmanager
    def of_batch(self, index: int) -> Iterator[None]:
        """Request what is needed for a batch that is made inside the block."""
        try:
            with self._changed:
                blocks = self._plan.blocks(index, self._rows)
                self._changed.wait_for(lambda: self._begun.issuperset(blocks) or self._n_made >= index)
                for group, block in blocks:
                    if self._closed or (group, block) in self._begun:
                        continue
                    self._begun.add((group, block))
                    shards = np.r_[self._plan.shards_of(group, block), self._plan.shards_of(group, block + 1)]
                    names = [self._manifest.shards[shard].name for shard in shards]
                    self._downloads = [each for each in self._downloads if not each.done()]
                    self._downloads += self._manifest.folder.prefetch(names)
            yield
        finally:
            with self._changed:
                self._made.add(index)
                while self._n_made in self._made:
                    self._made.remove(self._n_made)
                    self._n_made += 1
                self._changed.notify_all()

    def close(self) -> None:
        """Cancel the downloads that have not begun, without waiting for others, and request no more."""
        with self._changed:
            self._closed = True
            for download in self._downloads:
                download.cancel()
