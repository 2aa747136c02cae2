"""mixup: train on mixtures of two examples."""

import torch
from torch import Tensor
from torch.distributions import Beta
from torch.nn.functional import one_hot


def mixup(features: Tensor, labels: Tensor, weights: Tensor, *, n_classes: int, alpha: float) -> tuple[Tensor, Tensor]:
    """Mix each example with another of its batch, and their labels in the same proportion.

    Row i becomes ``s * row i + (1 - s) * row j`` for a random partner j. The share s is drawn for each row from
    Beta(alpha, alpha) and replaced by ``max(s, 1 - s)``, so that row i is the larger part. Partners and shares come
    from torch's global generator, on the device of the features.

    Parameters
    ----------
    features : Tensor [batch, ...]
    labels : Tensor [batch], int64
    weights : Tensor [batch]
        Rows are not mixed with a partner of weight 0.
    n_classes : int
    alpha : float
        Parameter of the beta distribution, above 0. Small values mix little; with 1, s is uniform in 0.5..1.

    Returns
    -------
    features : Tensor [batch, ...]
    probabilities : Tensor [batch, n_classes]
        Mixed labels.

    References
    ----------
    .. [1] H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR 2018.

    Examples
    --------
    >>> mixed, targets = mixup(torch.eye(4), torch.arange(4), torch.ones(4), n_classes=4, alpha=1.0)
    >>> torch.equal(mixed, targets)
    True
    """
    both = torch.full((len(labels),), float(alpha), device=features.device)
    share = Beta(both, both, validate_args=False).sample()
    share = torch.maximum(share, 1 - share)  # [batch]
    other = torch.randperm(len(labels), device=features.device)
    share = torch.where(weights[other] > 0, share, 1.0)
    classes = one_hot(labels, n_classes).to(share.dtype)
    return _mix(features, other, share), _mix(classes, other, share)


def _mix(values: Tensor, other: Tensor, share: Tensor) -> Tensor:
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return share * values + (1 - share) * values[other]
