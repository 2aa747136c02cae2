"""Functions whose gradients stay finite at zero, so that silence in a batch does not turn a training step into NaN.

``torch.where`` alone does not help: the branch that is not selected still contributes ``0 * inf = NaN``. So each
function replaces the zeros before the operation that is singular there, and selects afterwards.
"""

import torch


def ratio(numerator: torch.Tensor, denominator: torch.Tensor, valid: torch.Tensor, otherwise: float) -> torch.Tensor:
    """``numerator / denominator`` where `valid`, else `otherwise`, with gradient 0 there.

    >>> x = torch.zeros(2, requires_grad=True)
    >>> ratio(x, x, x > 0, 1.0).sum().backward()
    >>> x.grad
    tensor([0., 0.])
    """
    return torch.where(valid, numerator / torch.where(valid, denominator, 1.0), otherwise)


def power(x: torch.Tensor, exponent: float) -> torch.Tensor:
    """``x ** exponent`` of numbers of 0 or more; below an exponent of 1, the infinite gradient at 0 counts as 0.

    >>> x = torch.tensor([0.0, 4.0], requires_grad=True)
    >>> power(x, 0.5).sum().backward()
    >>> x.grad
    tensor([0.0000, 0.2500])
    """
    if exponent >= 1:
        return x**exponent
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1.0) ** exponent, 0.0)
