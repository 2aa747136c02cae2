"""Clips that are too short for a crop to count: which they are, and what settings suit them.

A crop counts if at least half of its frames lie in its clip (see `gtzan_stream.crops`), so spoken digits of half a
second do not count in crops of three seconds. Shorter crops help: fewer frames, or, where a network needs that many,
frames that lie closer.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gtzan_stream import crops
from gtzan_stream.errors import UserError
from gtzan_stream.geometry import Geometry

MANY = 0.1  # share of the clips that are too short, from which it is worth a word


def too_short(lengths: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Which clips of `lengths` samples do not count, not even by their first crop: bool [clip]."""
    return ~crops.segments(np.zeros(len(lengths), np.int64), lengths, geometry).counted


def suggested_settings(
    lengths: np.ndarray, geometry: Geometry, min_frames: int = 1, *, any_hop: bool = True
) -> dict[str, int] | None:
    """Find a crop in which at least nine tenths of the clips count, about as long as their median.

    Parameters
    ----------
    lengths : int64 [clip]
        Samples in each clip.
    geometry : Geometry
        As it is now.
    min_frames : int
        The fewest frames that the network takes.
    any_hop : bool
        Whether the hop may change, which is proposed where `min_frames` frames of this hop are too long.

    Returns
    -------
    dict or None
        ``frames``, a multiple of 8 where there are enough, and perhaps ``hop_length``, a round number. None if no crop
        suits.
    """
    if not len(lengths):
        return None
    shortest, median = (int(length) for length in np.quantile(lengths, [MANY, 0.5], method="lower"))

    def most_frames(step: int) -> int:
        """Frames of the longest crop at this hop."""
        stepped = replace(geometry, step=step)
        return min(stepped.frames_in(median), 2 * stepped.frames_in(shortest))

    frames = most_frames(geometry.step)
    if frames >= max(min_frames, 1):
        rounded = frames - frames % 8
        return {"frames": rounded if rounded >= max(min_frames, 8) else frames}
    hops = range(geometry.step - 1, 0, -1) if any_hop else ()
    hop = next((hop for hop in hops if most_frames(hop) >= min_frames), None)
    if hop is None:
        return None
    return {"hop_length": hop - hop % 5 if hop >= 20 else hop, "frames": min_frames}


def check(lengths: np.ndarray, geometry: Geometry, name: str, remedy: Callable[[], str]) -> str | None:
    """Say if many clips are too short to count.

    Parameters
    ----------
    lengths : int64 [clip]
        Samples in each clip.
    geometry : Geometry
    name : str
        What to call the clips: "part train".
    remedy : callable
        What to do, in words; asked only if many clips are too short.

    Returns
    -------
    str or None
        A sentence, if more than a tenth of the clips are too short.

    Raises
    ------
    UserError
        If all of them are.
    """
    n_short = int(too_short(lengths, geometry).sum())
    if n_short <= MANY * len(lengths):
        return None
    half = f"half a crop of {geometry.frames} frames lasts {geometry.stride / geometry.sample_rate / 2:.2f} s"
    if n_short < len(lengths):
        return f"{n_short} of the {len(lengths)} clips of {name} are too short to count: {half}; {remedy()}"
    longest, median = (f"{length / geometry.sample_rate:.2f} s" for length in (lengths.max(), np.median(lengths)))
    raise UserError(
        f"every clip of {name} is too short to count: the longest lasts {longest}, the median {median}, and {half}; "
        f"{remedy()}"
    )
