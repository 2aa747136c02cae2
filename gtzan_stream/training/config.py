"""Config: all settings of a training run, checked, and stored in checkpoints and reports."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, get_args

from gtzan_stream.augment import recipes
from gtzan_stream.checks import MAX_INT, MAX_SEED
from gtzan_stream.errors import UserError
from gtzan_stream.feature_settings import help_of, option_name
from gtzan_stream.features import REGISTRY as FEATURES
from gtzan_stream.normalization import NORMALIZATIONS
from gtzan_stream.registry import check_name
from gtzan_stream.threads import cores
from gtzan_stream.training import optimizers, schedules
from gtzan_stream.words import short_repr

NOT_SERVED = "none"
"""Value of the setting `served` of a run that makes its batches itself."""


def _option(default: Any, help: str, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a training run. The defaults are the study's; `defaults.complete` replaces None by a suitable value.

    Raises
    ------
    UserError
        If a value has the wrong type or is out of range; the message names the option.
    """

    shards: str | None = _option(
        None,
        "Folder of packed shards, or their address. (default: shards, or with --served none: the servers have them)",
    )
    served: str = _option(
        NOT_SERVED,
        "Addresses of a feature service, which makes the batches: host:port, or several with commas between them. "
        "Needs the extra service.",
    )
    served_keys: str | None = _option(None, "Folder with the keys of the service, if it has any.")
    served_strict: bool = _option(False, "Refuse servers that compute other bits than the first one; else warn.")
    split: str | None = _option(
        None,
        "Split to train on: filtered, study, stratified, folds or one of your own. (default: your own if there is "
        "exactly one with all parts, else filtered, else stratified)",
    )
    fold: int | None = _option(None, "Fold of the split `folds` to test on, 0 to 4.")
    model: str = _option("cnn2d", "Network; an unknown name lists them all.")
    features: str | None = _option(
        None, f"Input of the network: {', '.join(FEATURES)}, or module:function for your own. (default: the network's)"
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
        f"Augmentation recipe: {', '.join(recipes.names())}, only:NAME or without:NAME for one of the study's, or "
        "module:function for your own.",
    )
    mixup: float = _option(0.0, "Mix pairs of examples, with shares from Beta(x, x) for this value x; 0 for none.")
    spec_augment: int = _option(0, "SpecAugment: widest mask over mel bands and over frames, 0 to 128; 0 for none.")
    normalization: str | None = _option(
        None, "Normalisation of the features. (default: the network's: global, or clip for samplecnn)", NORMALIZATIONS
    )
    sync_batch_norm: bool = _option(False, "Batch norm over the rows of all ranks, not only each rank's own; on GPUs.")
    trainable_frontend: bool = _option(False, "Train the STFT kernels and the mel basis, too.")
    optimizer: str | None = _option(
        None, "Optimizer. (default: sgd, or adamw on the demo set)", tuple(optimizers.names())
    )
    lr: float | None = _option(
        None,
        "Learning rate. (default: the network's for this optimizer, else 0.001 for adam and adamw on the demo set, "
        "else the optimizer's; 0.01 for sgd)",
    )
    weight_decay: float = _option(1e-6, "Weight decay.")
    warmup_steps: int | None = _option(
        None, "Steps over which the learning rate rises to its value. (default: 30 % of all steps with cosine, else 0)"
    )
    schedule: str | None = _option(
        None,
        "Learning-rate schedule: plateau or cosine. (default: plateau, or cosine on the demo set)",
        schedules.SCHEDULES,
    )
    label_smoothing: float = _option(0.0, "Share of each label that is spread evenly over all classes, below 1.")
    epochs: int | None = _option(
        None, "Maximum number of epochs. (default: 100, or 5 on the demo set; unlimited with --steps)"
    )
    steps: int | None = _option(None, "Maximum number of training steps; the last epoch may be cut short.")
    batch_size: int | None = _option(None, "Examples per training step. (default: the network's, 16 or 64)")
    crops_per_clip: int = _option(8, "Random crops of each clip per epoch.")
    shuffle_shards: int | None = _option(
        None,
        "Number of shards whose examples are shuffled together. Twice as many remote shards must fit in the cache. "
        "(default: all)",
    )
    shard_groups: int = _option(
        1, "Groups of shards: each machine downloads only those of its ranks. Must divide the batch size."
    )
    chunks: str = _option(
        "study",
        "Chunks of each clip to evaluate: those in its first 23.8 s (study), or all.",
        ("study", "all"),
    )
    on_error: str = _option(
        "fail", "What to do with an unreadable example: fail, or skip it with weight 0.", ("fail", "skip")
    )
    check: bool = _option(False, "Verify all checksums of the shards before training.")
    device: str = _option("auto", "Device: cpu, cuda, cuda:1, ...; auto is the GPU if there is one.")
    precision: str = _option(
        "auto",
        "Number format of the network. auto is bf16 where the device has it natively, else fp32.",
        ("auto", "bf16", "fp32"),
    )
    num_workers: int = _option(min(4, cores()), "0 makes each batch when it is needed; more read as many rows at once.")
    tensorboard: bool = _option(
        False, "Show the run in TensorBoard, too; needs the extra tensorboard. Its files go to the run's folder."
    )
    seed: int = _option(0, "Seed of the weights, dropout, the order of examples and the augmentation.")
    out: str = _option("runs", "Folder in which runs are written.")
    name: str | None = _option(None, "Name of the run. (default: model, augmentation, seed and time)")

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            kinds, value = get_args(entry.type) or (entry.type,), getattr(self, entry.name)
            if type(value) not in kinds and not (float in kinds and type(value) is int):
                expected = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
                raise UserError(f"{option_name(entry.name)} must be {expected}, got {short_repr(value)}")
        at_least = {
            "fold": 0,
            "epochs": 1,
            "steps": 1,
            "spec_augment": 0,
            "batch_size": 1,
            "shuffle_shards": 1,
            "shard_groups": 1,
            "frames": 1,
            "warmup_steps": 0,
            "crops_per_clip": 1,
            "num_workers": 0,
            "seed": 0,
        }
        for option, least in at_least.items():
            value = getattr(self, option)
            if value is not None and value < least:
                raise UserError(f"{option_name(option)} must be {least} or more, got {value}")
            if value is not None and value > (most := MAX_SEED if option == "seed" else MAX_INT):
                raise UserError(f"{option_name(option)} must be {most} or less, got {short_repr(value)}")
        if self.lr is not None and not (self.lr > 0 and math.isfinite(self.lr)):
            raise UserError(f"--lr must be a positive number, got {self.lr}")
        for option in ("weight_decay", "mixup"):
            value = getattr(self, option)
            if not (value >= 0 and math.isfinite(value)):
                raise UserError(f"{option_name(option)} must be 0 or more, got {value}")
        if not 0 <= self.label_smoothing < 1:
            raise UserError(f"--label-smoothing must be 0 or more and below 1, got {self.label_smoothing}")
        if self.spec_augment > 128:
            raise UserError(f"--spec-augment must be 0 to 128 bands, got {self.spec_augment}")
        recipes.check(self.augment)
        if self.features is not None:
            check_name(self.features, FEATURES, "feature")
        for entry in dataclasses.fields(self):
            choices, value = entry.metadata["choices"], getattr(self, entry.name)
            if choices and value is not None and value not in choices:
                raise UserError(f"{option_name(entry.name)} must be one of {', '.join(choices)}, got {value!r}")
        if not self.is_served and (self.served_keys or self.served_strict):
            raise UserError("--served-keys and --served-strict go with --served ADDRESS")
        if self.check and self.is_served and self.shards is None:
            raise UserError(
                "--check reads the shards, and with --served they are elsewhere: give --shards, or --no-check"
            )
        if self.fold is not None and self.split not in (None, "folds"):
            raise UserError(f"--fold goes with --split folds, got --split {self.split}")

    @property
    def is_served(self) -> bool:
        """Whether a feature service makes the batches."""
        return self.served != NOT_SERVED

    @property
    def source(self) -> str:
        """Where the clips are, for messages: the shards, or the servers that have them."""
        return self.shards or (self.served if self.is_served else "shards")

    @classmethod
    def from_dict(cls, settings: Any) -> "Config":
        """Build a config from stored settings.

        Raises
        ------
        UserError
            If they are not a dict, or one of them is unknown or out of range.
        """
        if not isinstance(settings, dict):
            raise UserError(f"settings must be a dict, got a {type(settings).__name__}")
        known = [entry.name for entry in dataclasses.fields(cls)]
        if unknown := sorted(map(str, settings.keys() - set(known))):
            raise UserError(f"there is no setting {', '.join(unknown)}; there are {', '.join(known)}")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as a dict that JSON can hold."""
        return dataclasses.asdict(self)
