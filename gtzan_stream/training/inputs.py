"""Input of a run's network: build the features, and check that network, features and clips fit together."""

from typing import Any

import numpy as np
import torch
from torch import nn

from gtzan_stream import features, short_clips
from gtzan_stream.catalog.splits import PARTS
from gtzan_stream.errors import UserError
from gtzan_stream.feature_settings import FEATURE_SETTINGS, format_options
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.training.config import Config
from gtzan_stream.training.network import TrainableLogMel
from gtzan_stream.training.sizes import check_input, fewest_frames
from gtzan_stream.words import first_few


def build_features(config: Config) -> nn.Module:
    """Build what the loader computes: the features, or the waveform frames for a trainable spectrogram."""
    # `complete` has filled in the settings: str() here, and `or 1` below, are for the type checker.
    name = str(config.features)
    settings = _settings(config)
    if config.trainable_frontend:
        settings = {setting: settings[setting] for setting in features.settings_of(name)}
    return features.build(name, **settings)


def build_frontend(config: Config) -> TrainableLogMel | None:
    """Build the trainable spectrogram, which takes the frames that `build_features` computes; None without one."""
    if not config.trainable_frontend:
        return None
    spectrogram: Any = features.build("logmel", trainable=True, **_settings(config))
    return TrainableLogMel(spectrogram)


def check_inputs(config: Config, manifest: Manifest, network: nn.Module, inputs: nn.Module, n_rows: int) -> list[str]:
    """Check that the network takes the features, and that the clips are long enough to train on.

    Parameters
    ----------
    config : Config
        With all settings filled in by `defaults.complete`.
    manifest : Manifest
    network : Module
        On the CPU.
    inputs : Module
        Returned by `build_features`.
    n_rows : int
        Rows of the network's input, such as mel bands.

    Returns
    -------
    list of str
        Notes for the user: parts with more than a tenth of their clips too short, and parts that lack a label.

    Raises
    ------
    UserError
        If the network needs features of another size, if a mask may hide whole examples, or if every clip of a part is
        too short. The message names options that fit.
    """
    geometry: Any = inputs.geometry
    takes = features.settings_of(str(config.features))
    takes_n_mels = "n_mels" in takes or config.trainable_frontend
    check_input(network, config.model, n_rows, geometry.frames, takes_n_mels=takes_n_mels)
    if config.spec_augment > (most := min(n_rows, geometry.frames)):
        raise UserError(
            f"--spec-augment {config.spec_augment} can hide all of a feature of {n_rows} rows x "
            f"{geometry.frames} frames: choose {most} or less"
        )
    clip_lengths = manifest.resampled(geometry.sample_rate).frames
    lengths = {part: clip_lengths[manifest.part(str(config.split), part)] for part in PARTS}

    def remedy() -> str:
        settings = short_clips.suggested_settings(
            np.concatenate(list(lengths.values())),
            geometry,
            fewest_frames(network, n_rows) or geometry.frames,
            any_hop="hop_length" in takes,
        )
        if settings is None:
            return f"choose another --model: {config.model} does not take crops as short as these clips"
        return f"choose {format_options(settings)}"

    notes = [short_clips.check_lengths(lengths[part], geometry, f"part {part}", remedy) for part in PARTS]
    return [note for note in [*notes, *_labels_lacking(manifest, str(config.split))] if note]


def _labels_lacking(manifest: Manifest, split: str) -> list[str]:
    """Return a sentence for each part of a split that lacks clips of some labels."""
    by_part = manifest.labels_by_part(split)
    labels = set().union(*by_part.values())
    lacking = {part: sorted(labels - set(by_part[part])) for part in PARTS}
    return [
        f"part {part} of split {split} has no clip of {first_few(names)}: its "
        f"results say nothing about {'it' if len(names) == 1 else 'them'}"
        for part, names in lacking.items()
        if names
    ]


def rows_of(inputs: nn.Module, frontend: TrainableLogMel | None) -> int:
    """Return the number of rows of the network's input, such as mel bands."""
    return frontend.n_rows if frontend else features.n_rows(inputs, torch.device("cpu"))


def _settings(config: Config) -> dict[str, Any]:
    return {setting: getattr(config, setting) for setting in FEATURE_SETTINGS}
