"""Optimizers by name, each with a learning rate that works."""

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
"""From a name to the optimizer and its learning rate. Fused ones take an eighth of the time for large networks."""


def names() -> list[str]:
    """The optimizers there are."""
    return list(OPTIMIZERS)


def check(name: str) -> None:
    """Raise UserError, listing the optimizers there are, if `name` is none of them."""
    if name not in OPTIMIZERS:
        raise UserError(f"there is no optimizer {name!r}; there are {', '.join(OPTIMIZERS)}")


def default_lr(name: str) -> float:
    """A learning rate that the optimizer `name` works with."""
    check(name)
    return OPTIMIZERS[name][1]


def build(
    name: str, parameters: Iterable[nn.Parameter], *, lr: float | None = None, weight_decay: float = 1e-6
) -> optim.Optimizer:
    """Make the optimizer `name`.

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
    make, usual = OPTIMIZERS[name]
    return make(parameters, lr=usual if lr is None else lr, weight_decay=weight_decay)
