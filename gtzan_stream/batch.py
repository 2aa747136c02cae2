"""Batch: the features, labels, weights and metadata that a loader yields in one step."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw


@dataclass(eq=False)
class Batch:
    """One rank's rows of a global batch. Unpacks as ``features, labels``.

    Attributes
    ----------
    features : Tensor [batch, row, frame], float32, on the loader's device
    labels : Tensor [batch], int64
        Indices into the loader's `labels`.
    weights : Tensor [batch], float32
        1, or 0 for a row that does not count in losses and metrics: a filler of the last batch, an example that could
        not be read, or a crop that is more than half padding and does not hold its whole clip. A network's batch norm
        still sees the row.
    keys : list of str
        Keys of the clips.
    crops : int64 array [batch]
        Crop indices; chunk indices in an evaluation.
    starts : int64 array [batch]
        Sample of the clip at which each crop starts.
    valid_frames : int64 array [batch]
        Number of leading frames that lie inside the clip. The frames after them are padding.
    epoch : int
    skipped : tuple of str
        Errors of the examples that could not be read.
    transform : Transform
        The transform that augmented the rows; `draw` has its parameters.
    seed : int
    """

    features: Tensor
    labels: Tensor
    weights: Tensor
    keys: list[str]
    crops: np.ndarray
    starts: np.ndarray
    valid_frames: np.ndarray
    epoch: int
    skipped: tuple[str, ...]
    transform: Transform = field(repr=False)
    seed: int

    def __iter__(self) -> Iterator[Tensor]:
        yield self.features
        yield self.labels

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return (
            f"Batch({len(self)} rows of epoch {self.epoch}: features {list(self.features.shape)} "
            f"{str(self.features.dtype).removeprefix('torch.')} on {self.features.device})"
        )

    @property
    def draw(self) -> Draw:
        """Parameters of each row's augmentation, computed again as a pure function of seed, epoch, keys and crops."""
        return self.transform.draw(self.keys, seed=self.seed, epoch=self.epoch, crops=self.crops)

    def to(self, device: str | torch.device, *, non_blocking: bool = False) -> "Batch":
        """Return a copy with its tensors on `device`."""
        return self._with_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """Return a copy with its tensors in page-locked memory, from which a GPU can copy them without blocking."""
        return self._with_tensors(lambda tensor: tensor.pin_memory())

    def _with_tensors(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        return replace(
            self, features=function(self.features), labels=function(self.labels), weights=function(self.weights)
        )
