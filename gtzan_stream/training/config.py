"""The settings of a run: one frozen dataclass, checked, stored whole in the checkpoint and the report."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, get_args

from gtzan_stream.augment import recipes
from gtzan_stream.checks import MOST, SEEDS
from gtzan_stream.errors import UserError
from gtzan_stream.features import REGISTRY as FEATURES
from gtzan_stream.named import check_name
from gtzan_stream.normalization import NORMALIZATIONS
from gtzan_stream.settings import flag, help_of
from gtzan_stream.threads import cores
from gtzan_stream.training import optimizers, schedules
from gtzan_stream.words import short_repr


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
        None,
        "filtered, study, stratified, folds... (default: one of your own, or filtered, or stratified)",
    )
    fold: int | None = _option(None, "Which fold of the split `folds` to test on.")
    model: str = _option("cnn2d", "Network; a wrong name lists them all.")
    features: str | None = _option(
        None, f"{', '.join(FEATURES)}, or module:function for your own. (default: the network's)"
    )
    frames: int | None = _option(None, help_of("frames"))
    sample_rate: int | None = _option(None, help_of("sample_rate"))
    n_fft: int | None = _option(None, help_of("n_fft"))
    hop_length: int | None = _option(None, help_of("hop_length"))
    n_mels: int | None = _option(None, help_of("n_mels"))
    f_min: float | None = _option(None, help_of("f_min"))
    f_max: float | None = _option(None, help_of("f_max"))
    augment: str = _option(
        "study",
        f"Recipe of augmentation: {', '.join(recipes.names())}, only:NAME or without:NAME of the study's, or "
        "module:function for your own.",
    )
    mixup: float = _option(0.0, "Mix examples, in shares from a beta distribution of this parameter; 0 mixes none.")
    spec_augment: int = _option(0, "Widest mask over bands and over frames of a training example, 0 to 128.")
    normalization: str | None = _option(
        None, "Of the features. (default: the network's: global, and clip for samplecnn)", NORMALIZATIONS
    )
    trainable_frontend: bool = _option(False, "Learn the STFT kernels and the mel basis, too.")
    optimizer: str | None = _option(None, "(default: sgd, and adamw on the demo set)", tuple(optimizers.names()))
    lr: float | None = _option(None, "Learning rate. (default: the network's, or the optimizer's)")
    weight_decay: float = _option(1e-6, "Weight decay.")
    warmup_steps: int | None = _option(
        None, "Steps before the learning rate is reached. (default: three tenths of a cosine's, else 0)"
    )
    schedule: str | None = _option(
        None,
        "Learning-rate schedule. (default: plateau, and cosine on the demo set)",
        schedules.SCHEDULES,
    )
    label_smoothing: float = _option(0.0, "Share of each label that all classes have alike, below 1.")
    epochs: int | None = _option(None, "Epochs at most. (default: 100, and 5 on the demo set; none with --steps)")
    steps: int | None = _option(None, "Training steps at most; an epoch may be cut short.")
    batch_size: int | None = _option(None, "Examples a step. (default: the network's, 16 or 64)")
    crops_per_clip: int = _option(8, "Random crops of each clip in an epoch.")
    shuffle_shards: int | None = _option(
        None,
        "How many shards' examples are mixed with each other; twice as many remote ones must fit the cache. "
        "(default: all)",
    )
    chunks: str = _option(
        "study",
        "Chunks of each clip that evaluations use: those in its first 23.8 s (study), or all.",
        ("study", "all"),
    )
    on_error: str = _option("fail", "What to do with an unreadable example: fail, or skip it.", ("fail", "skip"))
    check: bool = _option(False, "Compare everything in the shards with its checksum before training.")
    device: str = _option("auto", "cpu, cuda, cuda:1... (default: the GPU if there is one)")
    precision: str = _option("auto", "Of the network; auto is bf16 where it is native.", ("auto", "bf16", "fp32"))
    num_workers: int = _option(min(4, cores()), "Threads that read ahead; 0 reads when asked.")
    seed: int = _option(0, "Of the weights, dropout, the order and the augmentation.")
    out: str = _option("runs", "Folder of runs.")
    name: str | None = _option(None, "Name of the run. (default: model, augmentation, seed and time)")

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            kinds, value = get_args(entry.type) or (entry.type,), getattr(self, entry.name)
            if type(value) not in kinds and not (float in kinds and type(value) is int):
                expected = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
                raise UserError(f"{flag(entry.name)} must be {expected}, got {short_repr(value)}")
        at_least = {
            "fold": 0,
            "epochs": 1,
            "steps": 1,
            "spec_augment": 0,
            "batch_size": 1,
            "shuffle_shards": 1,
            "frames": 1,
            "warmup_steps": 0,
            "crops_per_clip": 1,
            "num_workers": 0,
            "seed": 0,
        }
        for option, least in at_least.items():
            value = getattr(self, option)
            if value is not None and value < least:
                raise UserError(f"{flag(option)} must be {least} or more, got {value}")
            if value is not None and value > (most := SEEDS if option == "seed" else MOST):
                raise UserError(f"{flag(option)} must be {most} or less, got {short_repr(value)}")
        if self.lr is not None and not (self.lr > 0 and math.isfinite(self.lr)):
            raise UserError(f"--lr must be a positive number, got {self.lr}")
        for option in ("weight_decay", "mixup"):
            value = getattr(self, option)
            if not (value >= 0 and math.isfinite(value)):
                raise UserError(f"{flag(option)} must be 0 or more, got {value}")
        if not 0 <= self.label_smoothing < 1:
            raise UserError(f"--label-smoothing must be 0 or more and below 1, got {self.label_smoothing}")
        if self.spec_augment > 128:
            raise UserError(f"--spec-augment must be 0 to 128, the bands there are, got {self.spec_augment}")
        recipes.check(self.augment)
        if self.features is not None:
            check_name(self.features, FEATURES, "feature")
        for entry in dataclasses.fields(self):
            choices, value = entry.metadata["choices"], getattr(self, entry.name)
            if choices and value is not None and value not in choices:
                raise UserError(f"{flag(entry.name)} must be one of {', '.join(choices)}, got {value!r}")
        if self.fold is not None and self.split not in (None, "folds"):
            raise UserError(f"--fold goes with --split folds, got --split {self.split}")

    @classmethod
    def from_dict(cls, settings: Any) -> "Config":
        """Read stored settings.

        Raises
        ------
        UserError
            If they are not a dict, or one of them is unknown or out of its range.
        """
        if not isinstance(settings, dict):
            raise UserError(f"settings are a dict, got a {type(settings).__name__}")
        known = [entry.name for entry in dataclasses.fields(cls)]
        if unknown := sorted(map(str, settings.keys() - set(known))):
            raise UserError(f"there is no setting {', '.join(unknown)}; there are {', '.join(known)}")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """All settings, as plain JSON."""
        return dataclasses.asdict(self)
