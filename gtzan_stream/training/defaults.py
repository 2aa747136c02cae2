"""Fill in the settings of a run that were not given, from the data, the network and the device."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from gtzan_stream.catalog.splits import PARTS, PUBLISHED, SEEDED
from gtzan_stream.errors import UserError
from gtzan_stream.feature_settings import FEATURE_SETTINGS
from gtzan_stream.features import check_settings
from gtzan_stream.training import clips, device, optimizers
from gtzan_stream.training.config import Config

PREFERRED = ("filtered", "stratified", "study")  # splits that `pack` adds by itself, the preferred one first
DEMO: dict[str, Any] = {"epochs": 5, "optimizer": "adamw", "schedule": "cosine"}  # trains in minutes
DEMO_LR = {"adam": 1e-3, "adamw": 1e-3}
STUDY: dict[str, Any] = {"epochs": 100, "optimizer": "sgd", "schedule": "plateau"}


@runtime_checkable
class NetworkDefaults(Protocol):
    """Training defaults of a network; `models.Spec` has them."""

    @property
    def features(self) -> str:
        """Name of its features, a key of `gtzan_stream.features.REGISTRY`."""
        ...

    @property
    def frames(self) -> int:
        """Number of frames in one example."""
        ...

    @property
    def batch_size(self) -> int: ...

    @property
    def lr(self) -> Mapping[str, float]:
        """Learning rate by optimizer, where the usual one (the demo set's or the optimizer's) is not the best."""
        ...

    @property
    def normalization(self) -> str: ...


def complete(config: Config, network: NetworkDefaults) -> Config:
    """Return `config` with its missing settings filled in.

    Those with a default in the features, such as ``n_fft``, stay None.

    Raises
    ------
    UserError
        If settings contradict each other, the features do not take one of them, or there are no such shards or device.
    """
    config = complete_shards(config)
    manifest = clips.open_manifest(config)
    usual = DEMO if manifest.dataset == "demo" else STUDY
    optimizer = config.optimizer or usual["optimizer"]
    # The learning rate is the user's, else the network's, else the demo set's, else the optimizer's.
    lrs = {**(DEMO_LR if manifest.dataset == "demo" else {}), **network.lr}
    found = device.find(config.device)
    split = _split(config, manifest.parts_by_split())
    for part in PARTS:
        manifest.part(split, part)  # raises now, and not after training, if a part is missing
    return dataclasses.replace(
        config,
        split=split,
        fold=None,  # the name of the split includes it now
        features=_features(config, network),
        frames=config.frames or network.frames,
        sample_rate=config.sample_rate or manifest.sample_rate,
        device=found.type if config.device == "auto" else config.device,
        precision=device.precision(config.precision, found),
        normalization=config.normalization or network.normalization,
        optimizer=optimizer,
        schedule=config.schedule or usual["schedule"],
        lr=config.lr or lrs.get(optimizer) or optimizers.default_lr(optimizer),
        epochs=config.epochs or (None if config.steps else usual["epochs"]),
        batch_size=config.batch_size or network.batch_size,
        name=config.name or _name(config),
    )


def complete_shards(config: Config) -> Config:
    """Return `config` with the default of `shards` filled in: the folder shards, or none if servers have them."""
    return config if config.is_served else dataclasses.replace(config, shards=config.source)


def _split(config: Config, splits: Mapping[str, list[str]]) -> str:
    """Return the name of the split to use.

    It is the split asked for; else the user's own split, if exactly one of them has all parts; else the first of
    `PREFERRED` that the set has.
    """
    if config.fold is not None or config.split == "folds":
        if config.fold is None:
            raise UserError("--split folds needs --fold K, from 0")
        return f"folds-{config.fold}"
    complete = [name for name, parts in splits.items() if set(PARTS) <= set(parts)]
    own = [name for name in complete if name not in (*PUBLISHED, *SEEDED)]
    return config.split or (own[0] if len(own) == 1 else next(name for name in PREFERRED if name in splits))


def _features(config: Config, network: NetworkDefaults) -> str:
    features = config.features or network.features
    if config.trainable_frontend and features != "logmel":
        raise UserError(f"--trainable-frontend learns logmel features, but {config.model} takes {features}")
    if config.spec_augment and features == "waveform":
        raise UserError(f"--spec-augment masks rows and frames of a spectrogram, but {config.model} takes {features}")
    check_settings(features, [setting for setting in FEATURE_SETTINGS if getattr(config, setting) is not None])
    return "stft_frames" if config.trainable_frontend else features


def _name(config: Config) -> str:
    augment = config.augment.replace(":", "-")
    return f"{config.model}-{augment}-{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
