"""The order of an epoch: which examples each batch of each rank holds, with their weights, computed on demand.

Number the examples of a part clip by clip: first the crops of clip 0, then those of clip 1, and so on. A *position* is
an index into the epoch's global order, and global batch b holds the positions ``b * batch_size`` to
``(b + 1) * batch_size - 1``. The plan maps each position to an example:

- not shuffled, position i is example i;
- shuffled, position i is example ``permute(i)``, a permutation that can be evaluated at any index alone
  (`gtzan_stream.permutation`);
- shuffled with `shuffle_shards`, the shards are shuffled first and laid out one after the other, which gives each
  example a *slot*. Each run of `shuffle_shards` shards is a *block*, and positions are mapped to slots by a permutation
  of their block, so that only one block of shards is needed at a time.

For instance shards A (2 clips), B (1 clip) and C (2 clips), 2 crops of each clip, ``shuffle_shards=2`` and
``batch_size=4``, where the shards are shuffled to C, A, B::

    slot                     0  1  2  3  4  5  6  7 |  8  9
    its shard                C  C  C  C  A  A  A  A |  B  B
    its example              6  7  8  9  0  1  2  3 |  4  5
                                    block 0         | block 1
    position                 0  1  2  3  4  5  6  7 |  8  9 10 11
    its slot                 5  2  0  7  3  6  1  4 |  9  8
    its example              1  8  6  3  9  2  7  0 |  5  4 (4) (5)
    its batch                0  0  0  0  1  1  1  1 |  2  2  2  2
    its rank, of 2           0  1  0  1  0  1  0  1 |  0  1  0  1

The last batch is completed by fillers (in brackets): the last examples again, in reverse order and with weight 0. Their
shards are open already. A batch may reach from one block into the next.

Nothing is remembered between batches, so a resume at batch k costs what batch 0 costs, and any number of ranks share
the same global batches.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gtzan_stream.dsp.random import rng
from gtzan_stream.permutation import permute


@dataclass(frozen=True)
class Rows:
    """The examples of one batch on one rank.

    Attributes
    ----------
    clips : int64 [rows]
        Indices of the clips in the manifest.
    crops : int64 [rows]
        Crop indices; chunk indices in an evaluation.
    weights : float32 [rows]
        1, or 0 for a filler that completes the last batch.
    """

    clips: np.ndarray
    crops: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, kw_only=True)
class EpochPlan:
    """One epoch's global batches.

    Parameters
    ----------
    clips : int64 [n_clips]
        Indices in the manifest of the part's clips, grouped by shard.
    shards : int [n_clips]
        Index of each clip's shard.
    crops : int or int64 [n_clips]
        Examples of each clip: the same number for all, or one number a clip.
    batch_size : int
        Examples in a global batch, over all ranks.
    seed, epoch : int
        The order is a pure function of these and of the clips.
    shuffle : bool
        False keeps the order of `clips`, and of the crops of each clip.
    shuffle_shards : int, optional
        How many shards' examples are mixed with each other. By default all, which suits local disks. For remote shards
        choose at most half of what the cache holds. Without `shuffle`, it is the number of shards in a block.

    Raises
    ------
    ValueError
        If a number is out of range or there are no examples.
    """

    clips: np.ndarray
    shards: np.ndarray
    crops: int | np.ndarray
    batch_size: int
    seed: int = 0
    epoch: int = 0
    shuffle: bool = True
    shuffle_shards: int | None = None
    _shard_bounds: np.ndarray = field(init=False, repr=False)
    """Index in `clips` of the first clip of each shard, and the number of clips: int64 [n_shards + 1]."""

    def __post_init__(self) -> None:
        if len(self.clips) == 0:
            raise ValueError("a plan needs at least one clip, got none")
        if len(self.shards) != len(self.clips):
            raise ValueError(f"expected a shard for each of {len(self.clips)} clips, got {len(self.shards)}")
        if np.min(self.crops) < 1:
            raise ValueError(f"crops must be at least 1 per clip, got {np.min(self.crops)}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.shuffle_shards is not None and self.shuffle_shards < 1:
            raise ValueError(f"shuffle_shards must be at least 1, got {self.shuffle_shards}")
        starts = np.flatnonzero(np.r_[True, self.shards[1:] != self.shards[:-1]])
        if len(np.unique(self.shards[starts])) != len(starts):
            raise ValueError("clips must be grouped by shard")
        object.__setattr__(self, "_shard_bounds", np.r_[starts, len(self.clips)])

    @property
    def n_examples(self) -> int:
        """Number of examples in the epoch, without fillers."""
        return int(self._first_example(np.array([len(self.clips)]))[0])

    def __len__(self) -> int:
        """Return the number of global batches. The last one is completed by fillers."""
        return -(-self.n_examples // self.batch_size)

    def rows(self, batch: int, rank: int = 0, world_size: int = 1) -> Rows:
        """Return the rows of one rank, ``rank::world_size`` of the global batch with index `batch`."""
        positions = np.arange(batch * self.batch_size + rank, (batch + 1) * self.batch_size, world_size)
        n = self.n_examples
        is_example = positions < n
        # Fillers repeat the examples backwards from the last one; an epoch smaller than a batch is repeated.
        filler_positions = n - 1 - (positions - n) % n
        clips, crops = self._to_clips_and_crops(self._to_examples(np.where(is_example, positions, filler_positions)))
        return Rows(clips, crops, is_example.astype(np.float32))

    def block_of(self, batch: int) -> int:
        """Return the index of the block of shards in which a global batch begins; 0 if all shards are mixed."""
        if self._mixes_all:
            return 0
        return int(np.searchsorted(self._block_bounds, batch * self.batch_size, side="right")) - 1

    def shards_of(self, block: int) -> np.ndarray:
        """Return the indices of the shards in a block; none after the last block."""
        if self._mixes_all:
            return self.shards[self._shard_bounds[:-1]] if block == 0 else self.shards[:0]
        assert self.shuffle_shards is not None
        in_block = self._shard_order[block * self.shuffle_shards : (block + 1) * self.shuffle_shards]
        return self.shards[self._shard_bounds[in_block]]

    @property
    def _mixes_all(self) -> bool:
        return self.shuffle_shards is None or self.shuffle_shards >= len(self._shard_bounds) - 1

    def _first_example(self, clip_index: np.ndarray) -> np.ndarray:
        """Find the first example of the clips at these indices of `clips`."""
        if isinstance(self.crops, int):
            return clip_index * self.crops
        return self._crop_bounds[clip_index]

    @cached_property
    def _crop_bounds(self) -> np.ndarray:
        """First example of each clip, and the number of examples: int64 [n_clips + 1]."""
        return np.r_[0, np.cumsum(self.crops)]

    def _to_clips_and_crops(self, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the clip and the crop index of each example."""
        if isinstance(self.crops, int):
            index, crops = np.divmod(examples, self.crops)
        else:
            index = np.searchsorted(self._crop_bounds, examples, side="right") - 1
            crops = examples - self._crop_bounds[index]
        return self.clips[index], crops

    def _to_examples(self, positions: np.ndarray) -> np.ndarray:
        """Find the example at each position of the epoch."""
        if not self.shuffle:
            return positions
        if self._mixes_all:
            return permute(positions, self.n_examples, rng(self.seed, self.epoch, "order"))
        slots = np.empty_like(positions)
        blocks = np.searchsorted(self._block_bounds, positions, side="right") - 1
        for block in np.unique(blocks):
            rows = blocks == block
            start, stop = self._block_bounds[block], self._block_bounds[block + 1]
            of_block = rng(self.seed, self.epoch, f"order.{block}")  # each block has a permutation of its own
            slots[rows] = start + permute(positions[rows] - start, int(stop - start), of_block)
        shard = np.searchsorted(self._slot_bounds, slots, side="right") - 1
        first = self._first_example(self._shard_bounds[self._shard_order[shard]])
        return first + slots - self._slot_bounds[shard]

    @cached_property
    def _shard_order(self) -> np.ndarray:
        """Indices into `_shard_bounds` of the shards, in the order in which they are laid out."""
        n_shards = len(self._shard_bounds) - 1
        shards = np.arange(n_shards)
        return permute(shards, n_shards, rng(self.seed, self.epoch, "shards")) if self.shuffle else shards

    @cached_property
    def _slot_bounds(self) -> np.ndarray:
        """First slot of each shard of `_shard_order`, and the number of slots: int64 [n_shards + 1]."""
        sizes = np.diff(self._first_example(self._shard_bounds))
        return np.r_[0, np.cumsum(sizes[self._shard_order])]

    @cached_property
    def _block_bounds(self) -> np.ndarray:
        """First slot of each block, which is also its first position; and the number of slots: int64 [n_blocks + 1]."""
        n_shards = len(self._shard_order)
        return self._slot_bounds[np.r_[np.arange(0, n_shards, self.shuffle_shards), n_shards]]
