"""What a run feeds its network: the features of its settings, from clips that are long enough for them."""

from typing import Any

import numpy as np
import torch
from torch import nn

from gtzan_stream import features, short_clips
from gtzan_stream.catalog.splits import PARTS
from gtzan_stream.errors import UserError
from gtzan_stream.settings import FEATURE_SETTINGS, as_options
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.training.config import Config
from gtzan_stream.training.network import LearntLogMel
from gtzan_stream.training.sizes import check_input, fewest_frames
from gtzan_stream.words import some


def build_features(config: Config) -> nn.Module:
    """Build what the loader computes: the features, or the frames that a learnt spectrogram is computed from."""
    name = str(config.features)
    settings = _settings(config)
    if config.trainable_frontend:
        settings = {setting: settings[setting] for setting in features.takes(name)}
    return features.build(name, **settings)


def build_frontend(config: Config) -> LearntLogMel | None:
    """Build the spectrogram that is learnt, if one is, for what `build_features` computes."""
    if not config.trainable_frontend:
        return None
    spectrogram: Any = features.build("logmel", trainable=True, **_settings(config))
    return LearntLogMel(spectrogram)


def check_inputs(config: Config, manifest: Manifest, network: nn.Module, inputs: nn.Module, n_rows: int) -> list[str]:
    """Check that a network can be fed features, and that the clips are long enough to count.

    Parameters
    ----------
    config : Config
        Complete: see `defaults.complete`.
    manifest : Manifest
        Of its shards.
    network : Module
        On the CPU.
    inputs : Module
        What `build_features` returns.
    n_rows : int
        Rows of what the network is fed.

    Returns
    -------
    list of str
        What to tell the user: parts of which more than a tenth of the clips is too short, or that lack a label.

    Raises
    ------
    UserError
        If the network takes features of another size, with the options that help; if masks are wider than the features;
        or if every clip of a part is too short, with options that suit the clips and the network.
    """
    geometry: Any = inputs.geometry
    takes = features.takes(str(config.features))
    takes_n_mels = "n_mels" in takes or config.trainable_frontend
    check_input(network, config.model, n_rows, geometry.frames, takes_n_mels=takes_n_mels)
    if config.spec_augment > (most := min(n_rows, geometry.frames)):
        raise UserError(
            f"--spec-augment {config.spec_augment} may hide everything of features of {n_rows} rows x "
            f"{geometry.frames} frames: choose {most} or less"
        )
    frames = manifest.resampled(geometry.sample_rate).frames
    lengths = {part: frames[manifest.part(str(config.split), part)] for part in PARTS}

    def remedy() -> str:
        settings = short_clips.proposal(
            np.concatenate(list(lengths.values())),
            geometry,
            fewest_frames(network, n_rows) or geometry.frames,
            any_hop="hop_length" in takes,
        )
        if settings is None:
            return f"choose another --model than {config.model}, which takes no crops as short as these clips"
        return f"choose {as_options(settings)}"

    notes = [short_clips.check(lengths[part], geometry, f"part {part}", remedy) for part in PARTS]
    return [note for note in [*notes, *_labels_lacking(manifest, str(config.split))] if note]


def _labels_lacking(manifest: Manifest, split: str) -> list[str]:
    """A sentence for each part of a split that has no clip of some labels."""
    by_part = manifest.labels_by_part(split)
    labels = set().union(*by_part.values())
    lacking = {part: sorted(labels - set(by_part[part])) for part in PARTS}
    return [
        f"part {part} of split {split} has no clip of {some(names)}: its "
        f"results say nothing of {'it' if len(names) == 1 else 'them'}"
        for part, names in lacking.items()
        if names
    ]


def rows_of(inputs: nn.Module, frontend: LearntLogMel | None) -> int:
    """Rows of what a network is fed, such as mel bands."""
    return frontend.n_rows if frontend else features.n_rows(inputs, torch.device("cpu"))


def _settings(config: Config) -> dict[str, Any]:
    return {setting: getattr(config, setting) for setting in FEATURE_SETTINGS}
