"""Learning-rate schedules: the study's, which drops on a plateau, and a cosine, both with a linear warm-up."""

import math
from typing import Any

from torch import optim
from torch.optim.lr_scheduler import LambdaLR, LinearLR, ReduceLROnPlateau

from gtzan_stream.checks import checked_int
from gtzan_stream.errors import UserError

SCHEDULES = ("plateau", "cosine")
_WARMUP_START = 0.01  # share of the learning rate at the first step of a warm-up


class Plateau:
    """The study's schedule: divide the learning rate by 5 after six epochs without a better validation loss.

    Parameters
    ----------
    optimizer : Optimizer
    warmup_steps : int
        Steps over which the learning rate first climbs linearly, from a hundredth.
    """

    def __init__(self, optimizer: optim.Optimizer, *, warmup_steps: int = 0) -> None:
        self._optimizer = optimizer
        self._lowest = 1e-3 * self.lr  # the study's went from 0.01 to less than 0.00001
        self._plateau = ReduceLROnPlateau(optimizer, factor=0.2, patience=5)
        self._warmup = LinearLR(optimizer, _WARMUP_START, total_iters=warmup_steps) if warmup_steps else None

    @property
    def lr(self) -> float:
        """The learning rate now."""
        return self._optimizer.param_groups[0]["lr"]

    @property
    def finished(self) -> bool:
        """Whether the learning rate has fallen below a thousandth of its first value, which ends the run."""
        return self.lr < self._lowest

    def step(self) -> None:
        """Continue the warm-up, after a training step."""
        if self._warming and self._warmup is not None:
            self._warmup.step()

    def end_epoch(self, valid_loss: float) -> None:
        """Lower the learning rate if the validation loss has stalled, after an epoch that is not in the warm-up."""
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


class Cosine:
    """Half a cosine that takes the learning rate to 0 at the last step of the run.

    Parameters
    ----------
    optimizer : Optimizer
    steps : int
        All steps of the run.
    warmup_steps : int
        How many of them first climb linearly, from a hundredth.

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.
    """

    finished = False  # a cosine never ends a run early

    def __init__(self, optimizer: optim.Optimizer, *, steps: int, warmup_steps: int = 0) -> None:
        def share(step: int) -> float:
            """Return the share of the learning rate after `step` steps."""
            if step < warmup_steps:
                return _WARMUP_START + (1 - _WARMUP_START) * step / warmup_steps
            done = (step - warmup_steps) / max(steps - warmup_steps, 1)
            return (1 + math.cos(math.pi * done)) / 2

        self._optimizer, self._steps, self._schedule = optimizer, steps, LambdaLR(optimizer, share)

    @property
    def lr(self) -> float:
        """The learning rate now."""
        return self._optimizer.param_groups[0]["lr"]

    def step(self) -> None:
        """Set the learning rate of the next step, after a training step."""
        self._schedule.step()

    def end_epoch(self, valid_loss: float) -> None:
        """Do nothing after an epoch: only steps count."""

    def state_dict(self) -> dict[str, Any]:
        return {"step": self._schedule.last_epoch}  # LambdaLR's own state has private names, which torch may change

    def load_state_dict(self, state: dict[str, Any]) -> None:
        step = checked_int("step of the schedule", state["step"], maximum=self._steps)
        self._schedule.load_state_dict({**self._schedule.state_dict(), "last_epoch": step})
        for group, lr, share in zip(
            self._optimizer.param_groups, self._schedule.base_lrs, self._schedule.lr_lambdas, strict=True
        ):
            group["lr"] = lr * share(step)


def build(name: str, optimizer: optim.Optimizer, *, steps: int, warmup_steps: int | None = None) -> Plateau | Cosine:
    """Build the schedule `name`, one of `SCHEDULES`, for a run of at most `steps` steps.

    By default, a cosine warms up over 30 % of the steps, as in the one-cycle policy [1]_; the study's does not warm up.

    Raises
    ------
    UserError
        If the warm-up is longer than the run.

    References
    ----------
    .. [1] L. N. Smith, N. Topin, "Super-convergence: very fast training of neural networks using large learning rates",
       2018.
    """
    if warmup_steps and warmup_steps > steps:
        raise UserError(f"--warmup-steps must be at most the run's {steps} steps, got {warmup_steps}")
    if name == "cosine":
        return Cosine(optimizer, steps=steps, warmup_steps=round(0.3 * steps) if warmup_steps is None else warmup_steps)
    return Plateau(optimizer, warmup_steps=warmup_steps or 0)
