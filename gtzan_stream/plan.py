"""Which examples, in which order, for which rank: pure arithmetic on positions, with nothing kept per example.

Number the part's examples clip by clip: clip 0's crops, clip 1's crops, and so on. A position is a place in the epoch's
global order, and global batch b holds positions ``b * batch_size`` to ``(b + 1) * batch_size - 1``. An order maps each
position to an example:

- shuffled, it is a permutation that can be evaluated at any position alone (`gtzan_stream.permutation`);
- with `shuffle_shards`, the shards are shuffled first and laid out one after the other, then each block of that many
  shards is permuted within itself, so that few shards are needed at a time;
- not shuffled, it is the identity.

Nothing is remembered between batches, so a resume at batch k costs what batch 0 costs.
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
        Clip numbers, rows of the manifest's table.
    crops : int64 [rows]
        Crop indices; chunk numbers in an evaluation.
    weights : float32 [rows]
        1, or 0 for a filler row that completes the last batch.
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
        Clip numbers of the part, grouped by shard.
    shards : int [n_clips]
        Shard number of each.
    crops : int or int64 [n_clips]
        Examples per clip: one number for all, or one for each.
    batch_size : int
        Examples in a global batch, over all ranks.
    seed, epoch : int
        The order is a function of these.
    shuffle : bool
        False keeps the order of `clips`, crop by crop.
    shuffle_shards : int, optional
        How many shards' examples are mixed with each other. All of them by default, right for local disks; for remote
        shards, at most half of what the cache holds. Without `shuffle`, how many shards are needed at a time.

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
        return int(self._first_example(np.array([len(self.clips)]))[0])

    def __len__(self) -> int:
        """Number of global batches, the last filled up with rows of weight 0."""
        return -(-self.n_examples // self.batch_size)

    def rows(self, batch: int, rank: int = 0, world_size: int = 1) -> Rows:
        """Rows ``rank::world_size`` of global batch number `batch`."""
        positions = np.arange(batch * self.batch_size + rank, (batch + 1) * self.batch_size, world_size)
        n = self.n_examples
        inside = positions < n
        repeated = n - 1 - (positions - n) % n  # fillers repeat the last examples, whose shards are open already
        clips, crops = self._locate(self._order(np.where(inside, positions, repeated)))
        return Rows(clips, crops, inside.astype(np.float32))

    def block_of(self, batch: int) -> int:
        """Number of the block of shards that a global batch begins in; 0 where all shards are mixed."""
        if self._mixes_all:
            return 0
        return int(np.searchsorted(self._blocks[0], batch * self.batch_size, side="right")) - 1

    def shards_of(self, block: int) -> np.ndarray:
        """Shard numbers of a block; none after the last block."""
        if self._mixes_all:
            return self.shards[self._shard_bounds[:-1]] if block == 0 else self.shards[:0]
        assert self.shuffle_shards is not None
        places = self._blocks[1][block * self.shuffle_shards : (block + 1) * self.shuffle_shards]
        return self.shards[self._shard_bounds[places]]

    @property
    def _mixes_all(self) -> bool:
        return self.shuffle_shards is None or self.shuffle_shards >= len(self._shard_bounds) - 1

    def _first_example(self, clip_index: np.ndarray) -> np.ndarray:
        """Number of the first example of the clips at these places of `clips`."""
        if isinstance(self.crops, int):
            return clip_index * self.crops
        return self._crop_bounds[clip_index]

    @cached_property
    def _crop_bounds(self) -> np.ndarray:
        return np.r_[0, np.cumsum(self.crops)]

    def _locate(self, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clip number and crop index of each example number."""
        if isinstance(self.crops, int):
            index, crops = np.divmod(examples, self.crops)
        else:
            index = np.searchsorted(self._crop_bounds, examples, side="right") - 1
            crops = examples - self._crop_bounds[index]
        return self.clips[index], crops

    def _order(self, positions: np.ndarray) -> np.ndarray:
        """Example number at each position of the epoch."""
        if not self.shuffle:
            return positions
        if self._mixes_all:
            return permute(positions, self.n_examples, rng(self.seed, self.epoch, "order"))
        examples = np.empty_like(positions)
        block_bounds, shard_order, position_bounds = self._blocks
        block_of = np.searchsorted(block_bounds, positions, side="right") - 1
        for block in np.unique(block_of):
            inside = block_of == block
            start, stop = block_bounds[block], block_bounds[block + 1]
            key = rng(self.seed, self.epoch, f"order.{block}")  # each block has a permutation of its own
            place = start + permute(positions[inside] - start, int(stop - start), key)
            shard = np.searchsorted(position_bounds, place, side="right") - 1
            first = self._first_example(self._shard_bounds[shard_order[shard]])
            examples[inside] = first + place - position_bounds[shard]
        return examples

    @cached_property
    def _blocks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bounds of the blocks in positions, the shards in their shuffled order, and the bounds of each shard there."""
        assert self.shuffle_shards is not None
        n_shards = len(self._shard_bounds) - 1
        shard_order = np.arange(n_shards)
        if self.shuffle:
            shard_order = permute(shard_order, n_shards, rng(self.seed, self.epoch, "shards"))
        sizes = np.diff(self._first_example(self._shard_bounds))[shard_order]
        position_bounds = np.r_[0, np.cumsum(sizes)]
        block_bounds = position_bounds[np.r_[np.arange(0, n_shards, self.shuffle_shards), n_shards]]
        return block_bounds, shard_order, position_bounds
