"""Open the clips of a run: its shards, or the feature service that makes its batches.

The service is imported only for a run that uses it, because it needs the extra service.
"""

from typing import Any

import torch
from torch import nn

from gtzan_stream.loader import Loader
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.training.config import Config


def open_manifest(config: Config) -> Manifest:
    """Open the manifest of a run's shards, or download it from the servers if there are no shards here.

    Raises
    ------
    UserError
        If there is no such set, no server answers, or the extra service is not installed.
    """
    if config.shards is not None:
        return Manifest.open(config.shards)
    from gtzan_stream import service

    return service.download_manifest(config.served, keys=config.served_keys)


def open_loader(config: Config, features: nn.Module, device: torch.device, **options: Any) -> Loader:
    """Open the training clips.

    Parameters
    ----------
    config : Config
        With all settings filled in by `defaults.complete`.
    features : Module
        Returned by `inputs.build_features`.
    device : torch.device
    options
        Further arguments of `Loader`.
    """
    arguments: dict[str, Any] = {
        "split": config.split,
        "part": "train",
        "batch_size": config.batch_size or 1,
        "augment": config.augment,
        "features": features,
        "device": device,
        "num_workers": config.num_workers,
        "seed": config.seed,
        "crops_per_clip": config.crops_per_clip,
        "on_error": config.on_error,
        "shuffle_shards": config.shuffle_shards,
        "shard_groups": config.shard_groups,
        **options,
    }
    if not config.is_served:
        return Loader(str(config.shards), **arguments)
    from gtzan_stream import service

    return service.ServedLoader(
        config.served, config.shards, keys=config.served_keys, strict=config.served_strict, **arguments
    )


def notes_on_source(config: Config) -> list[str]:
    """Return a sentence about batches that come from servers."""
    if not config.is_served:
        return []
    note = f"The servers at {config.served} make the batches"
    if config.shards is not None:
        return [f"{note}; without a server, they are made here from {config.shards}"]
    where = "The report and TensorBoard have" if config.tensorboard else "The report has"
    return [f"{note}. {where} no sounds, because they are read from shards: add --shards to have them"]
