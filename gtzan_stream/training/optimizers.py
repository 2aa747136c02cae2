"""Optimizers by name, with their default learning rates."""

from collections.abc import Callable, Iterable
from functools import partial

from torch import nn, optim

from gtzan_stream.errors import UserError

OPTIMIZERS: dict[str, tuple[Callable[..., optim.Optimizer], float]] = {
    "sgd": (partial(optim.SGD, momentum=0.9, nesterov=True, fused=True), 0.01),
    "adam": (partial(optim.Adam, fused=True), 3e-4),
    "adamw": (partial(optim.AdamW, fused=True), 3e-4),
    "rmsprop": (optim.RMSprop, 1e-4),
    "adadelta": (optim.Adadelta, 1.0),
    "adagrad": (optim.Adagrad, 0.01),
}
"""Optimizer and default learning rate by name. Where torch has a fused version, it is used: it is faster."""


def names() -> list[str]:
    """Return the names of all optimizers."""
    return list(OPTIMIZERS)


def check(name: str) -> None:
    """Raise UserError, listing all names, if there is no optimizer `name`."""
    if name not in OPTIMIZERS:
        raise UserError(f"there is no optimizer {name!r}; there are {', '.join(OPTIMIZERS)}")


def default_lr(name: str) -> float:
    """Return the default learning rate of the optimizer `name`."""
    check(name)
    return OPTIMIZERS[name][1]


def build(
    name: str, parameters: Iterable[nn.Parameter], *, lr: float | None = None, weight_decay: float = 1e-6
) -> optim.Optimizer:
    """Build the optimizer `name`.

    Parameters
    ----------
    name : str
        One of `OPTIMIZERS`. "sgd" has Nesterov momentum of 0.9.
    parameters : iterable of Parameter
    lr : float, optional
        By default, `default_lr`.
    weight_decay : float

    Examples
    --------
    >>> build("sgd", nn.Linear(2, 2).parameters()).defaults["lr"]
    0.01
    """
    check(name)
    make, default = OPTIMIZERS[name]
    return make(parameters, lr=default if lr is None else lr, weight_decay=weight_decay)
