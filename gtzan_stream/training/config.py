"""The settings of a run: one frozen dataclass, checked, stored whole in the checkpoint and the report."""

import dataclasses
import math
import os
from dataclasses import dataclass, field
from typing import Any

from gtzan_stream.augment import recipes
from gtzan_stream.errors import UserError
from gtzan_stream.training import optimizers


def _option(default: Any, help: str, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a run, with the study's as defaults. None stands for what the data or the network suggest.

    Raises
    ------
    UserError
        If a value is out of its range; the sentence names the option.
    """

    shards: str = _option("shards", "Folder of packed shards.")
    split: str | None = _option(
        None, "Split of the data: filtered, study, stratified, folds... (default: the set's first)"
    )
    fold: int | None = _option(None, "Which fold of the split `folds` to test on.")
    model: str = _option("cnn2d", "Network; a wrong name lists them all.")
    augment: str = _option("study", "Recipe of augmentation.", tuple(recipes.names()))
    normalization: str = _option("global", "Of the features.", ("none", "global", "mel", "clip", "batch"))
    optimizer: str | None = _option(
        None, "What learns. (default: sgd, and adamw on the demo set)", tuple(optimizers.OPTIMIZERS)
    )
    lr: float | None = _option(None, "Learning rate. (default: the network's for sgd, else the optimizer's)")
    weight_decay: float = _option(1e-6, "Weight decay.")
    warmup_steps: int | None = _option(None, "Steps before the learning rate is reached. (default: the network's)")
    epochs: int | None = _option(None, "Epochs at most. (default: 100, and 5 on the demo set)")
    batch_size: int | None = _option(None, "Examples a step. (default: the network's, 16 or 64)")
    crops_per_clip: int = _option(8, "Random crops of each clip in an epoch.")
    eval: str = _option("study", "Of each clip, the first 8 chunks (study) or all (clip).", ("study", "clip"))
    on_error: str = _option("fail", "What a sample that cannot be read does.", ("fail", "skip"))
    device: str = _option("auto", "cpu, cuda, cuda:1... (default: the GPU if there is one)")
    precision: str = _option("auto", "Of the network; auto is bf16 where it is native.", ("auto", "bf16", "fp32"))
    workers: int = _option(max(1, min(4, os.cpu_count() or 1)), "Threads that read ahead; 0 reads when asked.")
    seed: int = _option(0, "Of the weights, dropout, the order and the augmentation.")
    out: str = _option("runs", "Folder of runs.")
    name: str | None = _option(None, "Name of the run. (default: model, augmentation, seed and time)")

    def __post_init__(self) -> None:
        at_least = {
            "fold": 0,
            "epochs": 1,
            "batch_size": 1,
            "warmup_steps": 0,
            "crops_per_clip": 1,
            "workers": 0,
            "seed": 0,
        }
        for option, least in at_least.items():
            value = getattr(self, option)
            if value is not None and value < least:
                raise UserError(f"{flag(option)} must be {least} or more, got {value}")
        if self.lr is not None and not (self.lr > 0 and math.isfinite(self.lr)):
            raise UserError(f"--lr must be a positive number, got {self.lr}")
        if not (self.weight_decay >= 0 and math.isfinite(self.weight_decay)):
            raise UserError(f"--weight-decay must be 0 or more, got {self.weight_decay}")
        for entry in dataclasses.fields(self):
            choices, value = entry.metadata["choices"], getattr(self, entry.name)
            if choices and value is not None and value not in choices:
                raise UserError(f"{flag(entry.name)} must be one of {', '.join(choices)}, got {value!r}")
        if self.fold is not None and self.split not in (None, "folds"):
            raise UserError(f"--fold goes with --split folds, got --split {self.split}")

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "Config":
        """Read stored settings; a key that is no setting is an error."""
        known = [entry.name for entry in dataclasses.fields(cls)]
        if unknown := sorted(settings.keys() - set(known)):
            raise UserError(f"there is no setting {', '.join(unknown)}; there are {', '.join(known)}")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """All settings, as plain JSON."""
        return dataclasses.asdict(self)


def flag(option: str) -> str:
    """The name of an option on the command line: ``--batch-size`` for ``batch_size``."""
    return "--" + option.replace("_", "-")
