"""mixup: train on mixtures of two examples, the same for any number of workers and ranks.

The share of a mixture is a pure function of the example. Its partner is the neighbour in the global batch, whose order
is shuffled already: the next row, cyclically, inside a short run of rows. If 16 divides the batch size, each of 1, 2, 4
or 8 ranks holds the partners of its own rows. Otherwise `BatchMaker` also makes the partner's row where a rank does not
hold it.
"""

import math

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor
from torch.nn.functional import one_hot

from gtzan_stream.augment.draw import Examples


def partners(batch_size: int, n_groups: int = 1) -> np.ndarray:
    """Return the partner of each row of a global batch: int64 [batch_size].

    The batch is cut into as many equal runs of at least 2 rows as possible, their number a divisor of lcm(8, n_groups),
    so that up to 8 ranks, or one rank a group, rarely need rows of others. The partner is the next row in the run.

    >>> partners(16).tolist()
    [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14]
    >>> partners(6).tolist()
    [1, 2, 0, 4, 5, 3]
    """
    divisor = math.gcd(math.lcm(8, n_groups), batch_size)
    n_runs = max((n for n in range(1, divisor + 1) if divisor % n == 0 and 2 * n <= batch_size), default=1)
    length, rows = batch_size // n_runs, np.arange(batch_size)
    return rows - rows % length + (rows + 1) % length


def with_partners(own: np.ndarray, batch_size: int, n_groups: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Add to the rows of a global batch that a rank holds those of other ranks that are their partners.

    Returns
    -------
    int64 [rows]
        The rows `own`, and then those of other ranks.
    int64 [own]
        Where the partner of each of `own` is in that array.

    >>> with_partners(np.arange(2, 4), 6)
    (array([2, 3, 0, 4]), array([2, 3]))
    """
    of_own = partners(batch_size, n_groups)[own]
    rows = np.r_[own, np.setdiff1d(of_own, own)]
    return rows, np.argsort(rows)[np.searchsorted(np.sort(rows), of_own)]


def draw_shares(examples: Examples, alpha: float) -> np.ndarray:
    """Draw the share of its own sound and label that each example keeps: float64 [batch], in 0.5..1.

    It is ``max(s, 1 - s)`` for s from Beta(alpha, alpha), so that the example itself is the larger part.
    """
    share = betaincinv(alpha, alpha, examples.uniform("mixup.share"))
    return np.maximum(share, 1 - share)


def mix(values: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """Mix each row with its partner: ``share * values + (1 - share) * partner``; exactly `values` where share is 1.

    Parameters
    ----------
    values, partner : Tensor [batch, ...]
    share : Tensor [batch]
    """
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return torch.where(share < 1, share * values + (1 - share) * partner, values)  # 0 * infinity would be NaN


def mix_labels(labels: Tensor, partner: Tensor, share: Tensor, n_classes: int) -> Tensor:
    """Mix the labels int64 [batch] of each row and its partner into class probabilities float32 [batch, n_classes]."""
    own, other = (one_hot(classes, n_classes).to(share.dtype) for classes in (labels, partner))
    return mix(own, other, share)
