"""What networks are fed: modules that turn waveforms [batch, time] into features [batch, row, frame].

A feature is an `nn.Module` with a `geometry` (`gtzan_stream.geometry.Geometry`), which says how many samples a crop
reads and what silence looks like. `REGISTRY` has those that can be asked for by name; a feature of one's own is one
file here and one entry there.
"""

from collections.abc import Callable, Collection

from torch import nn

from gtzan_stream.errors import UserError
from gtzan_stream.features.check import check, n_rows
from gtzan_stream.features.frames import Frames
from gtzan_stream.features.log_mel import LogMel
from gtzan_stream.features.raw_waveform import RawWaveform
from gtzan_stream.features.whole import whole_clips
from gtzan_stream.named import accepted_settings, build_named
from gtzan_stream.settings import FEATURE_SETTINGS, flag

__all__ = [
    "REGISTRY",
    "Frames",
    "LogMel",
    "RawWaveform",
    "build",
    "check",
    "check_settings",
    "n_rows",
    "takes",
    "whole_clips",
]

ALWAYS_KNOWN = ("sample_rate", "frames")  # from the shards and the network, whether or not the feature asks

REGISTRY: dict[str, Callable[..., nn.Module]] = {
    "logmel": LogMel,
    "waveform": RawWaveform,
    "stft_frames": Frames,
}


def build(name: str, **settings: object) -> nn.Module:
    """Build the feature called `name`, from the settings that command lines take.

    Parameters
    ----------
    name : str
        A key of `REGISTRY`, or "module:function" for one of your own.
    settings
        Arguments of the feature, such as ``frames=128``. Those that are None are left out, and so are ``sample_rate``
        and ``frames`` where the feature does not take them.

    Raises
    ------
    UserError
        If there is none of that name, it does not take a setting, a value is out of its range, or what the function
        returns is not a feature.
    """
    given = {setting: value for setting, value in settings.items() if value is not None}
    check_settings(name, [setting for setting in given if setting not in ALWAYS_KNOWN])
    accepted = accepted_settings(name, REGISTRY, "feature", given)
    try:
        return check(build_named(name, REGISTRY, "feature", **{setting: given[setting] for setting in accepted}))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"features {name}: {error}") from error


def takes(name: str) -> list[str]:
    """Which settings of `gtzan_stream.settings.FEATURE_SETTINGS` a feature takes."""
    return accepted_settings(name, REGISTRY, "feature", FEATURE_SETTINGS)


def check_settings(name: str, settings: Collection[str]) -> None:
    """Raise UserError if the feature called `name` does not take one of these settings."""
    accepted = accepted_settings(name, REGISTRY, "feature", settings)
    if wrong := [flag(setting) for setting in settings if setting not in accepted]:
        does = "do" if len(wrong) > 1 else "does"
        can = ", ".join(map(flag, takes(name))) or "no settings"
        raise UserError(f"{', '.join(wrong)} {does} not apply to the features {name}, which take {can}")
