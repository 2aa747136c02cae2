"""Find clips that are too short to count, and suggest settings that suit them.

A crop counts if at least half of its frames lie inside its clip (see `gtzan_stream.crops`), so spoken digits of half a
second do not count in crops of three seconds. Shorter crops help: fewer frames or, if the network needs that many
frames, a shorter hop.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from gtzan_stream import crops
from gtzan_stream.errors import UserError
from gtzan_stream.feature_settings import format_arguments, format_options
from gtzan_stream.geometry import Geometry
from gtzan_stream.store.manifest import Manifest

_MAX_SHORT_SHARE = 0.1  # `check_lengths` reports a larger share of clips that are too short


def too_short(lengths: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return a mask of the clips that do not count even in a crop from their beginning: bool [clip]."""
    return ~crops.segments(np.zeros(len(lengths), np.int64), lengths, geometry).has_enough_audio


def suggested_settings(
    lengths: np.ndarray, geometry: Geometry, min_frames: int = 1, *, any_hop: bool = True
) -> dict[str, int] | None:
    """Suggest a crop that is no longer than the median clip, and in which at least nine tenths of the clips count.

    At a given hop, a crop may have as many frames as the median clip, and at most twice as many as the clip at the
    tenth percentile, which then fills half of the crop. If the network needs more frames, the longest hop is chosen
    that allows them. For instance, let the median clip have 0.39 s at 8,000 Hz (18 frames at hop 180), and the clip at
    the tenth percentile 0.2 s (9 frames). The suggestion is 16 frames, or 19 frames at hop 170 for a network that needs
    19.

    Parameters
    ----------
    lengths : int64 [clip]
        Samples in each clip.
    geometry : Geometry
        The current geometry, with which clips are too short.
    min_frames : int, 1 or more
        The fewest frames that the network takes.
    any_hop : bool
        Whether a shorter hop may be suggested.

    Returns
    -------
    dict or None
        ``frames``, rounded down to a multiple of 8 if possible, and ``hop_length`` if it must change, rounded down to a
        multiple of 5 from 20 on. None if no crop suits.
    """
    if not len(lengths):
        return None
    short, median = (int(length) for length in np.quantile(lengths, [_MAX_SHORT_SHARE, 0.5], method="lower"))

    def most_frames(step: int) -> int:
        """Count the frames of the longest suitable crop at this hop."""
        changed = replace(geometry, step=step)
        return min(changed.frames_in(median), 2 * changed.frames_in(short))

    frames = most_frames(geometry.step)
    if frames >= min_frames:
        rounded = frames - frames % 8
        return {"frames": rounded if rounded >= min_frames else frames}
    hops = range(geometry.step - 1, 0, -1) if any_hop else ()
    hop = next((hop for hop in hops if most_frames(hop) >= min_frames), None)
    if hop is None:
        return None
    return {"hop_length": hop - hop % 5 if hop >= 20 else hop, "frames": min_frames}


def check_lengths(lengths: np.ndarray, geometry: Geometry, name: str, remedy: Callable[[], str]) -> str | None:
    """Return a warning if more than a tenth of the clips are too short to count.

    Parameters
    ----------
    lengths : int64 [clip]
        Samples in each clip.
    geometry : Geometry
    name : str
        Name of this group of clips in the message: "part train".
    remedy : callable
        Returns the remedy for the message; called only if there is one.

    Returns
    -------
    str or None
        The warning, or None if at most a tenth of the clips are too short.

    Raises
    ------
    UserError
        If all clips are too short.
    """
    n_short = int(too_short(lengths, geometry).sum())
    if n_short <= _MAX_SHORT_SHARE * len(lengths):
        return None
    half = f"half a crop of {geometry.frames} frames lasts {geometry.stride / geometry.sample_rate / 2:.2f} s"
    if n_short < len(lengths):
        return f"{n_short} of the {len(lengths)} clips of {name} are too short to count: {half}; {remedy()}"
    longest, median = (f"{length / geometry.sample_rate:.2f} s" for length in (lengths.max(), np.median(lengths)))
    raise UserError(
        f"every clip of {name} is too short to count: the longest lasts {longest}, the median {median}, and {half}; "
        f"{remedy()}"
    )


def check_part(manifest: Manifest, clips: np.ndarray, features: Any, part: str | None) -> None:
    """Raise UserError if all clips of a part are too short to count. The message suggests shorter crops.

    Parameters
    ----------
    manifest : Manifest
    clips : int [n_clips]
        Indices of the part's clips.
    features : Module
        With a `geometry`.
    part : str, optional
        Name of the part; None for all clips of the set.
    """
    geometry: Geometry = features.geometry
    lengths = manifest.resampled(geometry.sample_rate).frames[clips]

    def remedy() -> str:
        settings = suggested_settings(lengths, geometry)
        if settings is None:
            return "choose features with shorter crops"
        arguments = format_arguments({"sample_rate": geometry.sample_rate, **settings})
        in_python = f"{type(features).__name__}({arguments})"
        return f"choose shorter crops: {format_options(settings)}, or features={in_python}"

    check_lengths(lengths, geometry, f"part {part}" if part else str(manifest.root), remedy)
