"""Mixtures of examples: what a network is trained on in place of single ones."""

import torch
from torch import Tensor
from torch.distributions import Beta
from torch.nn.functional import one_hot


def mixup(features: Tensor, labels: Tensor, weights: Tensor, *, n_classes: int, alpha: float) -> tuple[Tensor, Tensor]:
    """Mix each example with another one of its batch, and its label with that one's.

    Each example has a share of its own, from a beta distribution, and is the greater part of its mixture. All is drawn
    from torch's own random numbers, on the device of the features.

    Parameters
    ----------
    features : Tensor [batch, ...]
    labels : Tensor [batch], int64
    weights : Tensor [batch]
        A row is not mixed with one of weight 0.
    n_classes : int
    alpha : float
        Both parameters of the beta distribution: small ones mix little, 1 mixes to every degree alike.

    Returns
    -------
    features : Tensor [batch, ...]
    probabilities : Tensor [batch, n_classes]
        Of the classes, as labels.

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
