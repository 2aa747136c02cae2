"""Checks of whether an object can be used as a feature."""

from typing import Any

import torch
from torch import nn

from gtzan_stream.errors import UserError
from gtzan_stream.geometry import Geometry

_REMEDY = (
    "give it a geometry, for STFT frames: features.geometry = "
    "gtzan_stream.Geometry.of_stft(sample_rate=22050, n_fft=1024, hop_length=512, frames=128, silence=0.0)"
)


def check(features: Any) -> nn.Module:
    """Return `features`. Raise UserError unless it is a module with a geometry; `n_rows` checks its output.

    Raises
    ------
    UserError
        If it is not a feature. The message says how to make it one.
    """
    if isinstance(features, type) and issubclass(features, nn.Module):
        raise UserError(f"features: got the class {features.__name__}: write {features.__name__}()")
    if not isinstance(features, nn.Module):
        raise UserError(
            f"features: expected an nn.Module with a geometry, such as LogMel(), got {_name(features)}; put the "
            f"computation into the forward of a subclass of nn.Module, and {_REMEDY}"
        )
    geometry = getattr(features, "geometry", None)
    if not isinstance(geometry, Geometry):
        found = "no geometry" if geometry is None else f"a geometry that is not a Geometry but {_name(geometry)}"
        raise UserError(f"features: {_name(features)} has {found}; {_REMEDY}")
    return features


@torch.no_grad()
def n_rows(features: nn.Module, device: torch.device) -> int:
    """Count the rows of a feature, such as mel bands, by computing one crop of silence.

    Raises
    ------
    UserError
        If the crop's shape is not [1, row, ``geometry.frames``].
    """
    geometry: Any = features.geometry
    silence = features(torch.zeros(1, geometry.read_length, dtype=torch.float32, device=device))
    if not isinstance(silence, torch.Tensor):
        raise UserError(f"features: {_name(features)} should return a tensor, it returned {_name(silence)}")
    if silence.ndim != 3 or silence.shape[0] != 1 or silence.shape[2] != geometry.frames:
        raise UserError(
            f"features: {_name(features)} turns [1, {geometry.read_length}] samples into {list(silence.shape)}, its "
            f"geometry says [1, rows, {geometry.frames}]; do not pad the input (center=False in most libraries), and "
            "give the geometry the feature's own n_fft and hop_length"
        )
    return silence.shape[1]


def _name(value: Any) -> str:
    """Return the name of a class, or of a value's class."""
    return value.__name__ if isinstance(value, type) else type(value).__name__
