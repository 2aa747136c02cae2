"""Open what a run was trained on, from the settings that are stored in its folder."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from gtzan_stream.chosen import clips_of_keys
from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader
from gtzan_stream.training import clips, inputs
from gtzan_stream.training.config import NOT_SERVED, Config
from gtzan_stream.training.recorder import STEPS

CONFIG = "config.json"


def is_run(folder: str | Path) -> bool:
    """Return whether this is the folder of a run."""
    return (Path(folder) / CONFIG).is_file()


def read_config(folder: Path) -> Config:
    """Read the settings of a run.

    Raises
    ------
    UserError
        If they are missing, damaged, or not those of this version.
    """
    path = folder / CONFIG
    try:
        return Config.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{folder} is not the folder of a run: it has no {CONFIG}") from None
    except ValueError as error:  # JSON, UTF-8 and Config
        raise UserError(f"{path} does not hold the settings of a run: {error}") from None


def epochs_begun(folder: Path) -> int | None:
    """Return how many epochs a run has begun, by its log of steps; None without one."""
    try:
        lines = (folder / STEPS).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    epochs = [json.loads(line)["epoch"] for line in lines if line.endswith("}")]  # the last one may be incomplete
    return max(epochs, default=0)


def open_training_loader(
    folder: Path, *, shards: str | None = None, augment: str | None = None
) -> tuple[Config, Loader]:
    """Open a loader of the examples that a run was trained on, on the CPU.

    Parameters
    ----------
    folder : Path
        Of the run.
    shards : str, optional
        Where its shards are now.
    augment : str, optional
        Another recipe.

    Raises
    ------
    UserError
        If the settings cannot be read, or the shards are not there.
    """
    config = read_config(folder)
    shards = shards or config.shards
    if shards is None:
        raise UserError(
            f"{folder} got its batches from the servers at {config.served}: name their shards with --shards"
        )
    if "://" not in shards and not Path(shards).exists():
        raise UserError(f"{folder} was trained on {shards}, which is not here: name its place with --shards")
    changes: dict[str, Any] = {"shards": shards, "served": NOT_SERVED, "served_keys": None, "served_strict": False}
    config = dataclasses.replace(config, **changes, augment=augment or config.augment)
    features = inputs.build_features(config)
    return config, clips.open_loader(config, features, torch.device("cpu"))


def check_heard(folder: Path, config: Config, loader: Loader, *, key: str | None, crop: int, epoch: int) -> None:
    """Raise UserError if a run has not heard this crop, of any clip or of the one with this key, in this epoch."""
    if crop >= config.crops_per_clip:
        raise UserError(f"--crop {crop}: an epoch of {folder} has crops 0 to {config.crops_per_clip - 1} of each clip")
    begun = epochs_begun(folder)
    if begun is not None and epoch >= max(begun, 1):
        raise UserError(f"--epoch {epoch}: counted from 0, {folder} has begun epochs 0 to {max(begun, 1) - 1}")
    if key is not None and clips_of_keys(loader.manifest, [key])[0] not in loader.manifest.part(
        str(config.split), "train"
    ):
        raise UserError(f"--key {key}: {folder} was not trained on this clip, which is not in the part train")
