"""What networks are fed: modules that turn waveforms [batch, time] into features [batch, row, frame].

A feature is an `nn.Module` with a `geometry` (`gtzan_stream.geometry.Geometry`), which says how many samples a crop
reads and what silence looks like. `REGISTRY` has those that can be asked for by name; a feature of one's own is one
file here and one entry there.
"""

from collections.abc import Callable

from torch import nn

from gtzan_stream.features.check import check, n_rows
from gtzan_stream.features.frames import Frames
from gtzan_stream.features.log_mel import LogMel
from gtzan_stream.features.raw_waveform import RawWaveform
from gtzan_stream.features.whole import whole_clips
from gtzan_stream.named import build_named

__all__ = ["REGISTRY", "Frames", "LogMel", "RawWaveform", "build", "check", "n_rows", "whole_clips"]

REGISTRY: dict[str, Callable[..., nn.Module]] = {
    "logmel": LogMel,
    "waveform": RawWaveform,
    "stft_frames": Frames,
}


def build(name: str, **settings: object) -> nn.Module:
    """Build the feature called `name`.

    Parameters
    ----------
    name : str
        A key of `REGISTRY`, or "module:function" for one of your own.
    settings
        Arguments of the feature, such as ``frames=128``.

    Raises
    ------
    UserError
        If there is none of that name, or what the function returns is not a feature.
    """
    return check(build_named(name, REGISTRY, "feature", **settings))
