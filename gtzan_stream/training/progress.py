"""Count what a run has done so far, with running sums over the current epoch."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gtzan_stream.checks import checked_int


class RunProgress:
    """What a run has done so far, so that it can stop after any step and continue.

    Attributes
    ----------
    epoch : int
        Number of the current epoch, from 0.
    batch, steps : int
        Steps done in this epoch, and in the whole run.
    history : list of dict
        One row for each validation: after each epoch, and at the end of a run that ends within an epoch.
    seconds : float
        Duration of the run so far, including evaluations.
    """

    def __init__(self, device: torch.device) -> None:
        self.epoch = self.batch = self.steps = 0
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)  # loss, correct, examples
        self._trained_s = self._waited_s = 0.0

    def step(self, sums: Tensor) -> None:
        """Add a training step, from the result of `sums_of` over all ranks."""
        self._sums += sums
        self.batch += 1
        self.steps += 1

    def add_time(self, seconds: float, waiting: float) -> None:
        """Add seconds of training, of which the share `waiting` was spent waiting for data."""
        self._trained_s += seconds
        self._waited_s += seconds * waiting
        self.seconds += seconds

    def measures(self, seconds: float = 0.0, waiting: float = 0.0) -> dict[str, float]:
        """Return loss, accuracy, speed and waiting in this epoch so far, counting `seconds` not yet added."""
        loss, correct, examples = self._sums.tolist()
        trained_s = self._trained_s + seconds
        waited_s = self._waited_s + seconds * waiting
        return {
            "train_loss": loss / examples if examples else math.nan,
            "train_accuracy": correct / examples if examples else math.nan,
            "crops_per_second": examples / trained_s if trained_s else math.nan,
            "data_wait_share": waited_s / trained_s if trained_s else math.nan,
            "train_seconds": trained_s,
        }

    @property
    def validated(self) -> bool:
        """Whether the network was validated after the last step."""
        return bool(self.history) and self.history[-1]["step"] == self.steps

    def add_row(self, **measured: float) -> bool:
        """Add a row to the history, with the measures of the steps since the last row. Returns whether it is the best.

        The epoch goes on, unless `end_epoch` is called, too.
        """
        self.history.append({"epoch": self.epoch + 1, "step": self.steps, **self.measures(), **measured})
        self._sums.zero_()
        self._trained_s = self._waited_s = 0.0
        return self.best is self.history[-1]

    def end_epoch(self) -> None:
        """Begin the next epoch."""
        self.epoch += 1
        self.batch = 0

    @property
    def best(self) -> dict[str, Any]:
        """Row of the epoch with the highest validation accuracy per chunk; the lowest loss breaks ties."""
        return best_of(self.history)

    def summary(self) -> dict[str, Any]:
        """Return figures of the whole run."""
        return {
            "epochs": self.epoch + bool(self.batch),
            "steps": self.steps,
            "best_epoch": self.best["epoch"],
            "last_train_accuracy": self.history[-1]["train_accuracy"],
            "seconds": self.seconds,
            **means_of(self.history),
        }

    def state_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "_sums": self._sums.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        sums = torch.tensor(state["_sums"], dtype=torch.float64, device=self._sums.device)
        counts = {name: checked_int(f"{name} of a run", state[name]) for name in ("epoch", "batch", "steps")}
        self.__dict__.update({**state, **counts, "_sums": sums})


def best_of(history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the row with the highest validation accuracy per chunk; the lowest loss breaks ties."""
    return max(history, key=lambda row: (row["valid_chunk_accuracy"], -row["valid_loss"]))


def means_of(history: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the means of speed and waiting, weighted by the rows' durations."""
    seconds = sum(row["train_seconds"] for row in history)
    return {
        name: sum(row[name] * row["train_seconds"] for row in history) / seconds
        for name in ("crops_per_second", "data_wait_share")
    }


def sums_of(loss: Tensor, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return what a step adds to the running sums: loss, correct predictions, examples that count.

    Parameters
    ----------
    loss : Tensor
        Sum of the losses of the rows that count.
    logits : Tensor [batch, n_classes]
    labels, weights : Tensor [batch]

    Returns
    -------
    Tensor [3], float32
    """
    correct = (logits.argmax(dim=1) == labels) * weights
    return torch.stack([loss, correct.sum(), weights.sum()])
