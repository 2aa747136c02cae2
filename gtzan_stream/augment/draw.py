"""Draw: the random parameters of each example, as pure functions of (seed, epoch, key, crop, name of the choice).

The name of a choice is a path such as "Compose.1/Gain.gain": the transform's position in its chain, its class and its
parameter. Two choices with different names are independent, and renaming one changes its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gtzan_stream.dsp import random

Keys = Sequence[str] | np.ndarray
"""Clip keys, or their 64-bit hashes (`dsp.random.hash_keys`) as a uint64 array."""


def view_seed(seed: int, view: int) -> int:
    """Return the seed for one of several augmentations (views) of an example: `seed` itself for view 0."""
    return seed if view == 0 else random.rng(seed, 0, f"view{view}")


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Examples to draw parameters for: the hashes of their keys and their crop indices, with a seed and an epoch."""

    seed: int
    epoch: int
    key_hash: np.ndarray  # uint64 [batch]
    crops: np.ndarray  # uint32 [batch]
    keys: np.ndarray | None = None  # for error messages; None if only hashes are known

    @classmethod
    def of(cls, keys: Keys, *, seed: int, epoch: int, crops: Sequence[int] | np.ndarray | None = None) -> Examples:
        """Hash `keys` unless they are hashes already. Without `crops`, every example is crop 0 of its clip."""
        if isinstance(keys, str):
            raise TypeError(f"keys: expected a sequence of keys, got the one string {keys!r}; write [{keys!r}]")
        if isinstance(keys, np.ndarray) and keys.dtype == np.uint64:
            key_hash, names = keys, None
        else:
            names = np.array([str(key) for key in keys], dtype=object)
            key_hash = np.asarray(random.hash_keys(list(names)), dtype=np.uint64)
        indices = np.zeros(len(key_hash), np.uint32) if crops is None else np.asarray(crops, dtype=np.uint32)
        if indices.shape != key_hash.shape:
            raise ValueError(f"crops: expected one for each of {len(key_hash)} keys, got shape {indices.shape}")
        return cls(seed=seed, epoch=epoch, key_hash=key_hash, crops=indices, keys=names)

    def uniform(self, name: str) -> np.ndarray:
        """Draw a uniform number in [0, 1) for each example, float64 [batch]."""
        if not len(self.key_hash):
            return np.empty(0)
        return random.uniform(self.rng(name), self.key_hash, self.crops)[:, 0]

    def rng(self, name: str) -> int:
        """Return the 64-bit generator key of the choice called `name`."""
        return random.rng(self.seed, self.epoch, name)


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The parameters of one transform for each example of a batch.

    Applying a transform twice with the same draw gives the same result. ``draw[rows]`` is the draw of some rows, given
    as a slice or an array of row numbers.

    Attributes
    ----------
    name : str
        Class name of the transform.
    chosen : bool [batch]
        Which examples are transformed; the others are copied.
    values : dict of str to float64 [batch]
        The parameters, in the units of the transform's arguments.
    children : tuple of Draw
        The draws of the transforms inside a `Compose` or a `OneOf`.
    rng : int
        64-bit generator key for random numbers that `apply` needs, such as noise.
    key_hash, crops, keys : arrays [batch]
        The examples; `keys` is None if only hashes were given.
    """

    name: str
    chosen: np.ndarray
    values: dict[str, np.ndarray] = field(default_factory=dict)
    children: tuple[Draw, ...] = ()
    rng: int
    key_hash: np.ndarray
    crops: np.ndarray
    keys: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, rows: slice | np.ndarray) -> Draw:
        return replace(
            self,
            chosen=self.chosen[rows],
            values={name: value[rows] for name, value in self.values.items()},
            children=tuple(child[rows] for child in self.children),
            key_hash=self.key_hash[rows],
            crops=self.crops[rows],
            keys=None if self.keys is None else self.keys[rows],
        )

    def only(self, mask: np.ndarray) -> Draw:
        """Return the same draw with the rows outside `mask` not chosen."""
        return replace(self, chosen=self.chosen & mask, children=tuple(child.only(mask) for child in self.children))

    def describe(self, row: int) -> str:
        """Describe what is applied to a row: ``"Gain(gain=2.1) > TimeStretch(rate=0.95)"`` or ``"unchanged"``."""
        if not self.chosen[row]:
            return "unchanged"
        if self.children:
            parts = [child.describe(row) for child in self.children if child.chosen[row]]
            return " > ".join(words for words in parts if words != "unchanged") or "unchanged"
        values = ", ".join(f"{name}={_number(value[row])}" for name, value in self.values.items())
        return f"{self.name}({values})"

    def label(self, row: int) -> str:
        """Return the key and crop of a row, for messages."""
        key = f"hash {self.key_hash[row]:#018x}" if self.keys is None else str(self.keys[row])
        return f"key {key}, crop {self.crops[row]}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.5g}"


@dataclass(frozen=True)
class Source:
    """The input that an output needs: `length` samples, starting `before` samples before the output's first sample.

    Both are int64 [batch]. `before` is negative if the input begins later than the output.
    """

    before: np.ndarray
    length: np.ndarray
