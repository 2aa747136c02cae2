"""Division and power with finite gradients at zero, so that silence in a batch does not make the gradients NaN.

``torch.where(valid, a / b, 0)`` alone does not help: in the backward pass the branch that is not selected still
contributes ``0 * inf = NaN``. So each function replaces the zeros before the singular operation and selects after it.
"""

import torch


def divide(numerator: torch.Tensor, denominator: torch.Tensor, valid: torch.Tensor, otherwise: float) -> torch.Tensor:
    """Compute ``numerator / denominator`` where `valid`; elsewhere return `otherwise`, with gradient 0.

    >>> x = torch.zeros(2, requires_grad=True)
    >>> divide(x, x, x > 0, 1.0).sum().backward()
    >>> x.grad
    tensor([0., 0.])
    """
    return torch.where(valid, numerator / torch.where(valid, denominator, 1.0), otherwise)


def power(x: torch.Tensor, exponent: float) -> torch.Tensor:
    """Compute ``x ** exponent`` for x >= 0 or NaN. The gradient at 0, infinite for exponents below 1, is 0 there.

    >>> x = torch.tensor([0.0, 4.0], requires_grad=True)
    >>> power(x, 0.5).sum().backward()
    >>> x.grad
    tensor([0.0000, 0.2500])
    """
    if exponent >= 1:
        return x**exponent
    zero = x == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, x) ** exponent)
