"""Optimizers by name, each with a learning rate that works, and the study's schedule."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch import nn, optim
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau

from gtzan_stream.errors import UserError

OPTIMIZERS: dict[str, tuple[Callable[..., optim.Optimizer], float]] = {
    "sgd": (partial(optim.SGD, momentum=0.9, nesterov=True), 0.01),
    "adam": (optim.Adam, 3e-4),
    "adamw": (optim.AdamW, 3e-4),
    "rmsprop": (optim.RMSprop, 1e-4),
    "adadelta": (optim.Adadelta, 1.0),
    "adagrad": (optim.Adagrad, 0.01),
}
"""From a name to the optimizer and its learning rate."""


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


class Plateau:
    """The study's schedule: a fifth of the learning rate after six epochs without a better validation loss.

    Parameters
    ----------
    optimizer : Optimizer
    warmup_steps : int
        Steps over which the learning rate first climbs linearly, from a hundredth.
    factor, patience : float, int
        What the learning rate is multiplied by, and how many epochs in a row may be no better before it is.
    floor : float
        Training is finished once the learning rate is less than this share of what it began with: the study's went from
        0.01 to less than 0.00001.
    """

    def __init__(
        self,
        optimizer: optim.Optimizer,
        *,
        warmup_steps: int = 0,
        factor: float = 0.2,
        patience: int = 5,
        floor: float = 1e-3,
    ) -> None:
        self._optimizer = optimizer
        self._lowest = floor * self.lr
        self._plateau = ReduceLROnPlateau(optimizer, factor=factor, patience=patience)
        self._warmup = LinearLR(optimizer, 0.01, total_iters=warmup_steps) if warmup_steps else None

    @property
    def lr(self) -> float:
        """The learning rate now."""
        return self._optimizer.param_groups[0]["lr"]

    @property
    def finished(self) -> bool:
        """Whether the learning rate has fallen so far that there is nothing left to learn."""
        return not self._warming and self.lr < self._lowest

    def step(self) -> None:
        """A training step was made."""
        if self._warming and self._warmup is not None:
            self._warmup.step()

    def epoch(self, valid_loss: float) -> None:
        """An epoch has ended with this validation loss."""
        if not self._warming:
            self._plateau.step(valid_loss)

    def state_dict(self) -> dict[str, Any]:
        return {"plateau": self._plateau.state_dict(), "warmup": self._warmup and self._warmup.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._plateau.load_state_dict(state["plateau"])
        if self._warmup is not None:
            self._warmup.load_state_dict(state["warmup"])

    @property
    def _warming(self) -> bool:
        return self._warmup is not None and self._warmup.last_epoch < self._warmup.total_iters
