"""The order of an epoch: which examples each row of each global batch holds, with its weight, computed on demand.

Each group of shards (see `gtzan_stream.layout`; by default there is one) has an order of its own. A *position* is an
index into a group's order, and global batch b takes the same number of positions from each: with R rows per group,
those from ``b * R`` to ``(b + 1) * R - 1``. The plan maps each position to an example of the group:

- not shuffled, position i is the group's example i;
- shuffled, position i is its example ``permute(i)``, a permutation that can be evaluated at any index alone
  (`gtzan_stream.permutation`);
- shuffled with `shuffle_shards`, the group's shards are shuffled first and laid out one after the other, which gives
  each example a *slot*. Each run of `shuffle_shards` shards is a *block*, and positions are mapped to slots by a
  permutation of their block, so that only one block of shards is needed at a time.

For instance shards A (2 clips), B (1 clip) and C (2 clips) in one group, 2 crops of each clip, ``shuffle_shards=2`` and
``batch_size=4``, where the shards are shuffled to C, A, B::

    slot                     0  1  2  3  4  5  6  7 |  8  9
    its shard                C  C  C  C  A  A  A  A |  B  B
    its example              6  7  8  9  0  1  2  3 |  4  5
                                    block 0         | block 1
    position                 0  1  2  3  4  5  6  7 |  8  9 10 11
    its slot                 5  2  0  7  3  6  1  4 |  9  8
    its example              1  8  6  3  9  2  7  0 |  5  4 (4) (5)
    its batch                0  0  0  0  1  1  1  1 |  2  2  2  2
    its rank, of 2           0  0  1  1  0  0  1  1 |  0  0  1  1

Positions after the group's last example hold fillers (in brackets): its last examples again, in reverse order and with
weight 0. Their shards are open already. A batch may reach from one block into the next.

Row i of a batch belongs to rank ``i * world_size // batch_size``, so each rank has a contiguous run of rows, and the
number of ranks need not divide the batch. The global batches do not depend on it.

Nothing is remembered between batches, so a resume at batch k costs what batch 0 costs.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gtzan_stream.dsp.random import rng
from gtzan_stream.layout import Layout
from gtzan_stream.permutation import permute


@dataclass(frozen=True)
class Rows:
    """Some rows of a global batch.

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


def rows_of_rank(rank: int, world_size: int, batch_size: int) -> range:
    """Return the rows of a global batch that belong to a rank: row i belongs to rank ``i * world_size // batch_size``.

    >>> [list(rows_of_rank(rank, 3, 8)) for rank in range(3)]
    [[0, 1, 2], [3, 4, 5], [6, 7]]
    """
    return range(-(-rank * batch_size // world_size), -(-(rank + 1) * batch_size // world_size))


def rows_of_ranks(ranks: range, world_size: int, batch_size: int) -> range:
    """Return the rows of a global batch that belong to consecutive ranks.

    >>> rows_of_ranks(range(1, 3), 3, 8)
    range(3, 8)
    """
    first, last = (rows_of_rank(rank, world_size, batch_size) for rank in (ranks[0], ranks[-1]))
    return range(first.start, last.stop)


@dataclass(frozen=True)
class EpochPlan:
    """One epoch's global batches.

    Parameters
    ----------
    layout : Layout
        The examples, and the groups of shards that they are in.
    epoch : int
        The order is a pure function of the layout, its seed, and the epoch.
    shuffle : bool
        False keeps the order of the clips, and of the crops of each clip.
    shuffle_shards : int, optional
        How many shards' examples are mixed with each other, in each group. By default all, which suits local disks. For
        remote shards choose at most half of what the cache holds, divided by the groups that it serves. Without
        `shuffle`, it is the number of shards in a block.

    Raises
    ------
    ValueError
        If `shuffle_shards` is below 1.
    """

    layout: Layout
    epoch: int = 0
    shuffle: bool = True
    shuffle_shards: int | None = None
    _orders: "dict[int, _GroupOrder]" = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.shuffle_shards is not None and self.shuffle_shards < 1:
            raise ValueError(f"shuffle_shards must be at least 1, got {self.shuffle_shards}")

    def __len__(self) -> int:
        """Return the number of global batches. The last ones are completed by fillers."""
        return self.layout.n_batches

    def rows(self, batch: int, numbers: np.ndarray | range) -> Rows:
        """Return the rows with these numbers, 0 to ``batch_size - 1``, of the global batch with index `batch`."""
        numbers, n_rows = np.asarray(numbers), self.layout.rows_per_group
        groups = numbers // n_rows
        examples, weights = np.empty(len(numbers), np.int64), np.empty(len(numbers), np.float32)
        for group in np.unique(groups).tolist():
            of_group = groups == group
            positions = batch * n_rows + numbers[of_group] % n_rows
            n = self.layout.group_sizes[group]
            is_example = positions < n
            # Fillers repeat the examples backwards from the last one; a group smaller than its rows is repeated.
            filler_positions = n - 1 - (positions - n) % n
            examples[of_group] = self._order(group).examples(np.where(is_example, positions, filler_positions))
            weights[of_group] = is_example
        return Rows(*self.layout.clips_and_crops(examples), weights)

    def n_examples(self, batch: int) -> int:
        """Return the number of rows of a global batch that are not fillers."""
        n_rows = self.layout.rows_per_group
        return int(np.clip(self.layout.group_sizes - batch * n_rows, 0, n_rows).sum())

    def blocks(self, batch: int, numbers: range) -> list[tuple[int, int]]:
        """Return the blocks in which these rows of a global batch begin: for each of their groups, group and block."""
        position = batch * self.layout.rows_per_group
        return [(group, self._order(group).block_of(position)) for group in self.layout.groups_of(numbers)]

    def shards_of(self, group: int, block: int) -> np.ndarray:
        """Return the indices in the manifest of the shards in a block; none after the group's last block."""
        return self.layout.shards[np.unique(self._order(group).shards_of(block))]

    def shards_at_once(self, numbers: range) -> int:
        """Return how many shards these rows need at once: those of a block and the next, in each of their groups."""
        return sum(self._order(group).shards_at_once for group in self.layout.groups_of(numbers))

    def _order(self, group: int) -> "_GroupOrder":
        if group not in self._orders:
            self._orders[group] = _GroupOrder(self, group)
        return self._orders[group]


class _GroupOrder:
    """The order of one group's examples in one epoch."""

    def __init__(self, plan: EpochPlan, group: int) -> None:
        pieces = plan.layout.pieces
        own = slice(pieces.bounds[group], pieces.bounds[group + 1])
        self._shard, self._first, self._size = pieces.shard[own], pieces.first[own], pieces.size[own]
        self._shuffle, n_pieces = plan.shuffle, len(self._size)
        self._pieces_in_block = min(plan.shuffle_shards or n_pieces, n_pieces)
        self._seed, self._epoch = plan.layout.seed, plan.epoch
        # The names of the random choices are frozen. With one group they are "order", "order.<block>" and "shards".
        self._path = "" if plan.layout.n_groups == 1 else f"group{group}."

    def examples(self, positions: np.ndarray) -> np.ndarray:
        """Find the example at each position."""
        slots = self._slots(positions) if self._shuffle else positions
        piece = np.searchsorted(self._slot_bounds, slots, side="right") - 1
        return self._first[self._piece_order[piece]] + slots - self._slot_bounds[piece]

    def block_of(self, position: int) -> int:
        """Return the block of a position; the last block after the last position."""
        return int(np.searchsorted(self._block_bounds[1:-1], position, side="right"))

    def shards_of(self, block: int) -> np.ndarray:
        """Return the indices in the layout of the shards in a block."""
        n = self._pieces_in_block
        return self._shard[self._piece_order[block * n : (block + 1) * n]]

    @property
    def shards_at_once(self) -> int:
        """Number of shards in two blocks."""
        return min(2 * self._pieces_in_block, len(self._size))

    def _slots(self, positions: np.ndarray) -> np.ndarray:
        """Find the slot at each position."""
        slots = np.empty_like(positions)
        blocks = np.searchsorted(self._block_bounds, positions, side="right") - 1
        for block in np.unique(blocks):
            rows = blocks == block
            start, stop = self._block_bounds[block], self._block_bounds[block + 1]
            name = "order" if self._mixes_all else f"order.{block}"  # each block has a permutation of its own
            slots[rows] = start + permute(positions[rows] - start, int(stop - start), self._rng(name))
        return slots

    def _rng(self, name: str) -> int:
        return rng(self._seed, self._epoch, self._path + name)

    @property
    def _mixes_all(self) -> bool:
        return self._pieces_in_block == len(self._size)

    @cached_property
    def _piece_order(self) -> np.ndarray:
        """Indices of the pieces in the order in which they are laid out."""
        pieces = np.arange(len(self._size))
        return permute(pieces, len(pieces), self._rng("shards")) if self._shuffle and not self._mixes_all else pieces

    @cached_property
    def _slot_bounds(self) -> np.ndarray:
        """First slot of each piece of `_piece_order`, and the number of slots: int64 [n_pieces + 1]."""
        return np.r_[0, np.cumsum(self._size[self._piece_order])]

    @cached_property
    def _block_bounds(self) -> np.ndarray:
        """First slot of each block, which is also its first position; and the number of slots: int64 [n_blocks + 1]."""
        n = len(self._size)
        return self._slot_bounds[np.r_[np.arange(0, n, self._pieces_in_block), n]]
