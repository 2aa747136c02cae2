"""SpecAugment: hide a random range of bands and a random range of frames of each example, as pure functions of it."""

import numpy as np
import torch
from torch import Tensor

from gtzan_stream.augment.draw import Examples
from gtzan_stream.batch import Batch
from gtzan_stream.checks import checked_int
from gtzan_stream.dsp.parameters import to_device


def spec_augment_mask(batch: Batch, widest: int, n_rows: int | None = None, n_frames: int | None = None) -> Tensor:
    """Return which values of a batch's features SpecAugment [1]_ hides, on their device.

    The range is drawn for each example from (seed, epoch, key, crop index), so it is the same for any number of workers
    and ranks, and after a resume. Fill hidden values with the features' mean: 0 if they are normalised.

    Parameters
    ----------
    batch : Batch
    widest : int
        Largest number of bands and of frames to hide. Widths are uniform from 0 to it.
    n_rows, n_frames : int, optional
        Bands and frames of the features to mask; by default those of ``batch.features``.

    Returns
    -------
    Tensor [batch, n_rows, n_frames], bool; [batch, view, n_rows, n_frames] with several views
        True where a value is hidden.

    Raises
    ------
    UserError
        If `widest` is larger than the features.

    References
    ----------
    .. [1] D. S. Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition",
       Interspeech 2019.

    Examples
    --------
    Train on masked features::

        hidden = spec_augment_mask(batch, 16)
        logits = network(batch.features.masked_fill(hidden, 0.0))
    """
    device, shape = batch.features.device, batch.features.shape
    sizes = {"bands": n_rows or shape[-2], "frames": n_frames or shape[-1]}
    widest = checked_int("the widest mask", widest, maximum=min(sizes.values()))
    views = []
    for examples in batch.examples_by_view:
        ranges = {name: _draw_range(examples, name, size, widest) for name, size in sizes.items()}
        hidden = {name: _in_range(to_device(np.stack(ranges[name], 1), device), size) for name, size in sizes.items()}
        views.append(hidden["bands"][:, :, None] | hidden["frames"][:, None, :])
    return views[0] if len(views) == 1 else torch.stack(views, 1)


def _draw_range(examples: Examples, name: str, size: int, widest: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw where each example's hidden range starts and stops: int64 [batch] each."""
    width = np.floor(examples.uniform(f"spec_augment.{name}.width") * (widest + 1)).astype(np.int64)
    start = np.floor(examples.uniform(f"spec_augment.{name}.start") * (size - width + 1)).astype(np.int64)
    return start, start + width


def _in_range(bounds: Tensor, size: int) -> Tensor:
    """Return a mask [batch, size] of the indices from ``bounds[:, 0]`` to ``bounds[:, 1] - 1``."""
    index = torch.arange(size, device=bounds.device)
    return (index >= bounds[:, :1]) & (index < bounds[:, 1:])
