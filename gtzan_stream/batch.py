"""Batch: the features, labels, weights and metadata that a loader yields in one step."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw, Examples, view_seed


@dataclass(eq=False)
class Batch:
    """One rank's rows of a global batch. Unpacks as ``features, targets``.

    Attributes
    ----------
    features : Tensor [batch, row, frame], float32, on the loader's device
        With ``Loader(views=V)``, V above 1: [batch, V, row, frame].
    labels : Tensor [batch], int64
        Indices into the loader's `labels`.
    targets : Tensor [batch], int64, or [batch, n_classes], float32
        What to train towards: `labels`, or class probabilities with ``Loader(mixup=)``. torch's `cross_entropy` accepts
        both.
    weights : Tensor [batch], float32
        1, or 0 for a row that does not count in losses and metrics: a filler of the last batch, an example that could
        not be read or augmented, or a crop that is more than half padding and does not hold its whole clip. A network's
        batch norm still sees the row.
    loss_weights : Tensor [batch], float32
        ``weights * W / n`` for W ranks and the n rows of the global batch, on all ranks, that count. With one rank,
        ``(losses * loss_weights).sum()`` is the mean loss of the batch. With several, the average of these sums over
        ranks is the mean loss of the global batch, and DistributedDataParallel takes that average of the gradients. n
        includes rows that could not be read or augmented.
    keys : list of str
        Keys of the clips.
    crops : int64 array [batch]
        Crop indices; chunk indices in an evaluation.
    starts : int64 array [batch]
        Sample of the clip at which each crop starts. With several views, that of the first.
    valid_frames : int64 array [batch]
        Number of leading frames that lie inside the clip. The frames after them are padding. With several views, that
        of the first.
    epoch : int
    skipped : tuple of str
        Errors of the examples that could not be read or augmented.
    transform : Transform
        The transform that augmented the rows; `draw` has its parameters.
    seed : int
    n_views : int
    """

    features: Tensor
    labels: Tensor
    targets: Tensor
    weights: Tensor
    loss_weights: Tensor
    keys: list[str]
    crops: np.ndarray
    starts: np.ndarray
    valid_frames: np.ndarray
    epoch: int
    skipped: tuple[str, ...]
    transform: Transform = field(repr=False)
    seed: int
    n_views: int = 1

    def __iter__(self) -> Iterator[Tensor]:
        yield self.features
        yield self.targets

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return (
            f"Batch({len(self)} rows of epoch {self.epoch}: features {list(self.features.shape)} "
            f"{str(self.features.dtype).removeprefix('torch.')} on {self.features.device})"
        )

    @property
    def draw(self) -> Draw:
        """Parameters of each row's augmentation, computed again as a pure function of seed, epoch, keys and crops.

        With several views, those of the first; `draws` has all.
        """
        return self.draws[0]

    @property
    def draws(self) -> list[Draw]:
        """Parameters of each view's augmentation."""
        path = type(self.transform).__name__
        return [self.transform.draw_for(examples, path) for examples in self.examples_by_view]

    @property
    def examples_by_view(self) -> list[Examples]:
        """The rows as examples to draw random numbers for, with the seed of each view."""
        seeds = [view_seed(self.seed, view) for view in range(self.n_views)]
        return [Examples.of(self.keys, seed=seed, epoch=self.epoch, crops=self.crops) for seed in seeds]

    def to(self, device: str | torch.device, *, non_blocking: bool = False) -> "Batch":
        """Return a copy with its tensors on `device`."""
        return self._with_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """Return a copy with its tensors in page-locked memory, from which a GPU can copy them without blocking."""
        return self._with_tensors(lambda tensor: tensor.pin_memory())

    def _with_tensors(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        distinct = {id(tensor): tensor for tensor in self.tensors.values()}  # without mixup, the labels are the targets
        changed = {key: function(tensor) for key, tensor in distinct.items()}
        tensors: dict[str, Any] = {name: changed[id(tensor)] for name, tensor in self.tensors.items()}
        return replace(self, **tensors)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The batch's tensors by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
