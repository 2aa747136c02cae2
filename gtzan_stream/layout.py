"""Which examples a part has, how they are numbered, and which group of shards, and so which machine, reads each.

**Numbering.** The examples of a part are numbered shard by shard and clip by clip: first the crops of clip 0, then
those of clip 1, and so on.

**Groups.** With ``n_groups`` above 1, the shards are dealt to groups once, by the seed, so that a machine downloads
only its groups' shards. A global batch takes the same number of rows from each group: row i is from group
``i * n_groups // batch_size``. A group therefore has room for

    slots = n_batches * batch_size / n_groups

examples in an epoch. Shards are dealt in rounds, the largest first: in each round every group gets one shard, and the
group with the fewest examples so far gets the largest. What a group holds beyond its slots, its *surplus*, moves to
groups with free slots. In every epoch the same examples move to the same groups, so that caches stay useful.

For instance shards A to E with 6, 5, 4, 3 and 2 examples, two groups, and batches of 4, so 5 batches and 10 slots a
group::

    dealt in rounds    group 0: A (6), D (3), E (2)    group 1: B (5), C (4)              11 and 9 examples
    surplus            the last example of E moves to group 1
    pieces             group 0: A, D, start of E       group 1: B, C, end of E            10 and 10 examples

A *piece* is a run of examples that are in one shard and one group. The pieces of all groups hold each example once.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gtzan_stream.dsp.random import rng
from gtzan_stream.permutation import permute


@dataclass(frozen=True)
class Pieces:
    """Runs of examples, group by group.

    Attributes
    ----------
    bounds : int64 [n_groups + 1]
        Index of the first piece of each group, and the number of pieces.
    shard : int64 [n_pieces]
        Index in `Layout.shards`.
    first, size : int64 [n_pieces]
        First example, and number of examples.
    """

    bounds: np.ndarray
    shard: np.ndarray
    first: np.ndarray
    size: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The examples of a part, numbered and dealt to groups of shards.

    Parameters
    ----------
    clips : int [n_clips]
        Indices in the manifest of the part's clips, shard by shard. May be memory-mapped.
    shards : int [n_shards]
        Indices in the manifest of the shards that hold these clips.
    clips_per_shard : int [n_shards]
        How many of `clips` each of them holds.
    crops : int or int [n_clips]
        Examples of each clip: the same number for all, or one number a clip.
    batch_size : int
        Examples in a global batch, over all ranks.
    n_groups : int
        Groups of shards. Divides `batch_size`, and is at most the number of shards.
    seed : int
        Decides which of several equally large shards are dealt to which group.

    Raises
    ------
    ValueError
        If a number is out of range or there are no examples.
    """

    clips: np.ndarray
    shards: np.ndarray
    clips_per_shard: np.ndarray
    crops: int | np.ndarray
    batch_size: int
    n_groups: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.clips) == 0:
            raise ValueError("a plan needs at least one clip, got none")
        if len(self.clips_per_shard) != len(self.shards):
            n = len(self.clips_per_shard)
            raise ValueError(f"clips_per_shard must have a number for each of {len(self.shards)} shards, got {n}")
        if self.clips_per_shard.sum() != len(self.clips):
            raise ValueError(f"the shards must hold the {len(self.clips)} clips, got {self.clips_per_shard.sum()}")
        if np.min(self.crops) < 1:
            raise ValueError(f"crops must be at least 1 per clip, got {np.min(self.crops)}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if not 1 <= self.n_groups <= len(self.shards):
            raise ValueError(f"shard_groups must be at most the {len(self.shards)} shards, got {self.n_groups}")
        if self.batch_size % self.n_groups:
            raise ValueError(f"shard_groups must divide batch_size {self.batch_size}, got {self.n_groups}")

    @classmethod
    def of_clips(cls, clips: np.ndarray, shards: np.ndarray, **settings: Any) -> "Layout":
        """Return the layout of clips, from the shard of each clip: int [n_clips]. Clips must be grouped by shard."""
        held_by, clips_per_shard = shards_of_clips(shards)
        return cls(clips=clips, shards=held_by, clips_per_shard=clips_per_shard, **settings)

    @cached_property
    def n_examples(self) -> int:
        """Number of examples in an epoch, without fillers."""
        return int(self._first_example[-1])

    @property
    def n_batches(self) -> int:
        """Number of global batches in an epoch."""
        return -(-self.n_examples // self.batch_size)

    @property
    def rows_per_group(self) -> int:
        """Rows of each global batch that are from one group."""
        return self.batch_size // self.n_groups

    def groups_of(self, numbers: range) -> range:
        """Return the groups that the rows with these numbers of a global batch are from."""
        return range(numbers.start // self.rows_per_group, (numbers.stop - 1) // self.rows_per_group + 1)

    @cached_property
    def pieces(self) -> Pieces:
        """The examples of each group, in a fixed order."""
        sizes = np.diff(self._first_example)
        if self.n_groups == 1:
            n = len(sizes)
            return Pieces(np.array([0, n]), np.arange(n), self._first_example[:-1], sizes)
        return _move_surplus(
            _deal(sizes, self.n_groups, self.seed), self._first_example, sizes, self.n_batches * self.rows_per_group
        )

    @cached_property
    def group_sizes(self) -> np.ndarray:
        """Number of examples of each group: int64 [n_groups]."""
        return np.add.reduceat(self.pieces.size, self.pieces.bounds[:-1])

    def clips_and_crops(self, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the clip (its index in the manifest) and the crop index of each example: int64 [n] each."""
        if isinstance(self.crops, int):
            index, crops = np.divmod(examples, self.crops)
        else:
            index = np.searchsorted(self._crop_bounds, examples, side="right") - 1
            crops = examples - self._crop_bounds[index]
        return np.asarray(self.clips[index]), crops

    @cached_property
    def _first_example(self) -> np.ndarray:
        """First example of each shard, and the number of examples: int64 [n_shards + 1]."""
        first_clip = np.r_[0, np.cumsum(self.clips_per_shard, dtype=np.int64)]
        return first_clip * self.crops if isinstance(self.crops, int) else self._crop_bounds[first_clip]

    @cached_property
    def _crop_bounds(self) -> np.ndarray:
        """First example of each clip, and the number of examples: int64 [n_clips + 1]."""
        return np.r_[0, np.cumsum(self.crops, dtype=np.int64)]


def shards_of_clips(shards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shards that hold clips, and how many each holds, from the shard of each clip.

    >>> [array.tolist() for array in shards_of_clips(np.array([4, 4, 7, 9, 9]))]
    [[4, 7, 9], [2, 1, 2]]

    Raises
    ------
    ValueError
        If the clips are not grouped by shard.
    """
    starts = np.flatnonzero(np.r_[True, shards[1:] != shards[:-1]]) if len(shards) else np.zeros(0, np.int64)
    if len(np.unique(shards[starts])) != len(starts):
        raise ValueError("clips must be grouped by shard")
    return shards[starts], np.diff(np.r_[starts, len(shards)])


def _deal(sizes: np.ndarray, n_groups: int, seed: int) -> list[np.ndarray]:
    """Deal shards with `sizes` examples to groups in rounds; return the shards of each group, the largest first."""
    n = len(sizes)
    ties = permute(np.arange(n), n, rng(seed, 0, "groups"))
    order = np.lexsort((ties, -sizes))
    group = np.empty(n, np.int64)  # of each shard, in this order
    totals = np.zeros(n_groups, np.int64)
    for start in range(0, n, n_groups):
        dealt = sizes[order[start : start + n_groups]]
        lightest = np.argsort(totals, kind="stable")[: len(dealt)]
        group[start : start + n_groups] = lightest
        totals[lightest] += dealt
    by_group = np.argsort(group, kind="stable")
    return np.split(order[by_group], np.cumsum(np.bincount(group, minlength=n_groups))[:-1])


def _move_surplus(dealt: list[np.ndarray], first_example: np.ndarray, sizes: np.ndarray, slots: int) -> Pieces:
    """Cut the shards of each group into pieces, so that no group has more than `slots` examples.

    Number the surplus of all groups in one sequence, and their free slots in another. Surplus example j moves to free
    slot j. So a cut is needed wherever a shard ends in the first sequence, or a group in the second.
    """
    shard = np.concatenate(dealt)
    group = np.repeat(np.arange(len(dealt)), [len(shards) for shards in dealt])
    totals = np.array([sizes[shards].sum() for shards in dealt])
    before = np.cumsum(sizes[shard]) - sizes[shard]  # examples before each shard, in all groups
    before -= (np.cumsum(totals) - totals)[group]  # in its group
    kept = np.clip(slots - before, 0, sizes[shard])
    surplus = np.r_[0, np.cumsum(sizes[shard] - kept)]  # where each shard's surplus begins
    free = np.r_[0, np.cumsum(np.maximum(slots - totals, 0))]  # where each group's free slots begin
    cuts = np.unique(np.r_[surplus, free[free < surplus[-1]]])
    source = np.searchsorted(surplus, cuts[:-1], side="right") - 1
    moved_first = first_example[shard[source]] + kept[source] + cuts[:-1] - surplus[source]
    moved_to = np.searchsorted(free, cuts[:-1], side="right") - 1

    group = np.r_[group, moved_to]
    size = np.r_[kept, np.diff(cuts)]
    order = np.argsort(group, kind="stable")
    order = order[size[order] > 0]
    return Pieces(
        bounds=np.searchsorted(group[order], np.arange(len(dealt) + 1)),
        shard=np.r_[shard, shard[source]][order],
        first=np.r_[first_example[shard], moved_first][order],
        size=size[order],
    )
