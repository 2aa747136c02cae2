"""Features: modules that turn waveforms [batch, time] into the input of networks, [batch, row, frame].

A feature is an `nn.Module` with a `geometry` (`gtzan_stream.geometry.Geometry`), which says how many samples a crop
reads and what value silence has. `REGISTRY` lists the features that command lines know by name. To add one, add a file
to this folder and an entry to `REGISTRY`.
"""

from collections.abc import Callable, Collection

from torch import nn

from gtzan_stream.errors import UserError
from gtzan_stream.feature_settings import FEATURE_SETTINGS, option_name
from gtzan_stream.features.check import check, n_rows
from gtzan_stream.features.frames import Frames
from gtzan_stream.features.log_mel import LogMel
from gtzan_stream.features.raw_waveform import RawWaveform
from gtzan_stream.features.whole import whole_clips
from gtzan_stream.registry import accepted_settings, build_by_name

__all__ = [
    "REGISTRY",
    "Frames",
    "LogMel",
    "RawWaveform",
    "build",
    "check",
    "check_settings",
    "n_rows",
    "settings_of",
    "whole_clips",
]

ALWAYS_KNOWN = ("sample_rate", "frames")
"""Settings that come from the shards and the network. A feature without one of these arguments is built without it."""

REGISTRY: dict[str, Callable[..., nn.Module]] = {
    "logmel": LogMel,
    "waveform": RawWaveform,
    "stft_frames": Frames,
}


def build(name: str, **settings: object) -> nn.Module:
    """Build the feature called `name` from the settings of a command line.

    Parameters
    ----------
    name : str
        A key of `REGISTRY`, or "module:function" for one of your own.
    settings
        Arguments of the feature, such as ``frames=128``. Values of None are left out, and so are ``sample_rate`` and
        ``frames`` if the feature does not take them.

    Raises
    ------
    UserError
        If no feature has that name, it does not take a setting, a value is out of its range, or the function does not
        return a feature.
    """
    given = {setting: value for setting, value in settings.items() if value is not None}
    check_settings(name, [setting for setting in given if setting not in ALWAYS_KNOWN])
    accepted = accepted_settings(name, REGISTRY, "feature", given)
    try:
        return check(build_by_name(name, REGISTRY, "feature", **{setting: given[setting] for setting in accepted}))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"features {name}: {error}") from error


def settings_of(name: str) -> list[str]:
    """List the settings of `gtzan_stream.feature_settings.FEATURE_SETTINGS` that a feature takes."""
    return accepted_settings(name, REGISTRY, "feature", FEATURE_SETTINGS)


def check_settings(name: str, settings: Collection[str]) -> None:
    """Raise UserError if the feature called `name` does not take all of `settings`."""
    accepted = accepted_settings(name, REGISTRY, "feature", settings)
    if wrong := [option_name(setting) for setting in settings if setting not in accepted]:
        does = "do" if len(wrong) > 1 else "does"
        can = ", ".join(map(option_name, settings_of(name))) or "no settings"
        raise UserError(f"{', '.join(wrong)} {does} not apply to the features {name}, which take {can}")
