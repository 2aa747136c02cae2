"""Which samples, in which order, for which rank: pure arithmetic on positions, with nothing kept per sample.

A position is a place in the epoch's global order. The order is a permutation that can be evaluated at any position
alone, so ten million clips cost nothing at start-up and a resume at batch k costs what batch 0 costs.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gtzan_stream.dsp.random import permute, stream


@dataclass(frozen=True)
class Rows:
    """The samples of one batch on one rank.

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
        Samples per clip: one number for all, or one for each.
    batch_size : int
        Samples in a global batch, over all ranks.
    seed, epoch : int
        What the order is a function of.
    shuffle : bool
        False keeps the order of `clips`, crop by crop.
    window : int, optional
        Shards whose samples are mixed with one another: shards are shuffled, then samples inside each run of `window`
        shards. All of them by default, right for local disks; for remote shards, as many as the cache holds. Without
        `shuffle`, how many shards are wanted at a time.

    Raises
    ------
    ValueError
        If a number is out of range or there are no samples.
    """

    clips: np.ndarray
    shards: np.ndarray
    crops: int | np.ndarray
    batch_size: int
    seed: int = 0
    epoch: int = 0
    shuffle: bool = True
    window: int | None = None
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
        if self.window is not None and self.window < 1:
            raise ValueError(f"window must be at least 1 shard, got {self.window}")
        starts = np.flatnonzero(np.r_[True, self.shards[1:] != self.shards[:-1]])
        if len(np.unique(self.shards[starts])) != len(starts):
            raise ValueError("clips must be grouped by shard")
        object.__setattr__(self, "_shard_bounds", np.r_[starts, len(self.clips)])

    @property
    def n_samples(self) -> int:
        return int(self._first_sample(np.array([len(self.clips)]))[0])

    def __len__(self) -> int:
        """Number of global batches, the last filled up with rows of weight 0."""
        return -(-self.n_samples // self.batch_size)

    def rows(self, batch: int, rank: int = 0, world_size: int = 1) -> Rows:
        """Rows ``rank::world_size`` of global batch number `batch`."""
        positions = np.arange(batch * self.batch_size + rank, (batch + 1) * self.batch_size, world_size)
        n = self.n_samples
        inside = positions < n
        repeated = n - 1 - (positions - n) % n  # fillers repeat the last samples, whose shards are at hand
        clips, crops = self._locate(self._order(np.where(inside, positions, repeated)))
        return Rows(clips, crops, inside.astype(np.float32))

    def window_of(self, batch: int) -> int:
        """Number of the window that a global batch begins in; 0 where all shards are mixed."""
        if self._mixes_all:
            return 0
        return int(np.searchsorted(self._windows[0], batch * self.batch_size, side="right")) - 1

    def shards_of(self, window: int) -> np.ndarray:
        """Shard numbers that a window reads; none after the last window."""
        if self._mixes_all:
            return self.shards[self._shard_bounds[:-1]] if window == 0 else self.shards[:0]
        assert self.window is not None
        places = self._windows[1][window * self.window : (window + 1) * self.window]
        return self.shards[self._shard_bounds[places]]

    @property
    def _mixes_all(self) -> bool:
        return self.window is None or self.window >= len(self._shard_bounds) - 1

    def _first_sample(self, clip_index: np.ndarray) -> np.ndarray:
        """Number of the first sample of the clips at these places of `clips`."""
        if isinstance(self.crops, int):
            return clip_index * self.crops
        return self._crop_bounds[clip_index]

    @cached_property
    def _crop_bounds(self) -> np.ndarray:
        return np.r_[0, np.cumsum(self.crops)]

    def _locate(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clip number and crop index of each sample number."""
        if isinstance(self.crops, int):
            index, crops = np.divmod(samples, self.crops)
        else:
            index = np.searchsorted(self._crop_bounds, samples, side="right") - 1
            crops = samples - self._crop_bounds[index]
        return self.clips[index], crops

    def _order(self, positions: np.ndarray) -> np.ndarray:
        """Sample number at each position of the epoch."""
        if not self.shuffle:
            return positions
        if self._mixes_all:
            return permute(positions, self.n_samples, stream(self.seed, self.epoch, "order"))
        samples = np.empty_like(positions)
        window_bounds, shard_order, position_bounds = self._windows
        window_of = np.searchsorted(window_bounds, positions, side="right") - 1
        for w in np.unique(window_of):
            inside = window_of == w
            start, stop = window_bounds[w], window_bounds[w + 1]
            name = stream(self.seed, self.epoch, f"order.{w}")
            place = start + permute(positions[inside] - start, int(stop - start), name)
            shard = np.searchsorted(position_bounds, place, side="right") - 1
            first = self._first_sample(self._shard_bounds[shard_order[shard]])
            samples[inside] = first + place - position_bounds[shard]
        return samples

    @cached_property
    def _windows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bounds of the windows, the shards in their shuffled order, and the bounds of each shard in that order."""
        assert self.window is not None
        n_shards = len(self._shard_bounds) - 1
        shard_order = np.arange(n_shards)
        if self.shuffle:
            shard_order = permute(shard_order, n_shards, stream(self.seed, self.epoch, "shards"))
        sizes = np.diff(self._first_sample(self._shard_bounds))[shard_order]
        position_bounds = np.r_[0, np.cumsum(sizes)]
        window_bounds = position_bounds[np.r_[np.arange(0, n_shards, self.window), n_shards]]
        return window_bounds, shard_order, position_bounds
