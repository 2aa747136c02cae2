"""The training loss: weighted cross-entropy, with auxiliary heads."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

AUXILIARY = 0.3
"""Weight of each auxiliary head, from Szegedy et al., CVPR 2015."""


def loss_of(
    output: Tensor | tuple[Tensor, ...], targets: Tensor, weights: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Compute the sum of the rows' cross-entropies, each multiplied by its weight.

    With a batch's `loss_weights`, it is this rank's part of the mean over the global batch; see `Batch`.

    Parameters
    ----------
    output : Tensor [batch, n_classes] or tuple of them
        Logits. In a tuple, the network's own come first, then those of auxiliary heads, with a loss weight of 0.3.
    targets : Tensor [batch], int64, or [batch, n_classes]
        Classes, or class probabilities.
    weights : Tensor [batch]
    label_smoothing : float
        Share of each label that is spread evenly over all classes (Szegedy et al., CVPR 2016).

    Returns
    -------
    Tensor
        Scalar, float32.

    Examples
    --------
    >>> logits = torch.tensor([[9.0, 0.0], [0.0, 9.0]])  # right; wrong, but with weight 0
    >>> round(loss_of(logits, torch.tensor([0, 0]), torch.tensor([1.0, 0.0])).item(), 4)
    0.0001
    """
    if isinstance(output, Tensor):
        losses = cross_entropy(output.float(), targets, reduction="none", label_smoothing=label_smoothing)
        return (losses * weights).sum()
    own, *auxiliary = (loss_of(head, targets, weights, label_smoothing=label_smoothing) for head in output)
    return own + AUXILIARY * torch.stack(auxiliary).sum() if auxiliary else own
