"""Whether an object can be used as a feature."""

from typing import Any

import torch
from torch import nn

from gtzan_stream.errors import UserError
from gtzan_stream.geometry import Geometry

_WRAP = (
    "give it a geometry: features.geometry = gtzan_stream.Geometry(sample_rate=..., frame_length=..., step=..., "
    "context=..., frames=..., grid=..., silence=...)"
)


def check(features: Any) -> nn.Module:
    """Return `features` if it is a feature: a module with a geometry whose crop has as many frames as it says.

    Raises
    ------
    UserError
        If it is not; the message says how to make it one.
    """
    if not isinstance(features, nn.Module):
        raise UserError(
            f"features: expected an nn.Module with a geometry, such as LogMel(), got {_name(features)}; put its "
            f"computation into the forward of a subclass of nn.Module, and {_WRAP}"
        )
    geometry = getattr(features, "geometry", None)
    if not isinstance(geometry, Geometry):
        raise UserError(f"features: {_name(features)} has no geometry; {_WRAP}")
    return features


@torch.no_grad()
def n_rows(features: nn.Module, device: torch.device) -> int:
    """Rows of a feature, such as mel bands, found by computing one crop of silence.

    Raises
    ------
    UserError
        If the crop's shape is not [1, row, ``geometry.frames``].
    """
    geometry: Any = features.geometry
    shape = tuple(features(torch.zeros(1, geometry.read_length, dtype=torch.float32, device=device)).shape)
    if len(shape) != 3 or shape[0] != 1 or shape[2] != geometry.frames:
        raise UserError(
            f"features: {_name(features)} turns [1, {geometry.read_length}] samples into {list(shape)}, its geometry "
            f"says [1, rows, {geometry.frames}]; it should not pad (center=False), and its geometry should fit"
        )
    return shape[1]


def _name(thing: Any) -> str:
    return thing.__name__ if isinstance(thing, type) else type(thing).__name__
