"""Where crops lie in their clips, and which samples they read: pure functions of a feature's geometry.

Frame t of a clip is centred on sample ``t * step``. A crop that starts at sample s of its clip, a multiple of the
geometry's grid, holds the frames centred on ``s, s + rate * step, s + 2 * rate * step, ...``, where `rate` says how
fast the augmentation makes time run. To compute them, the loader reads one segment of the clip::

    start  = s - round(context * rate) - before
    length = what the transforms need to fill `read_length` samples

`before` and `length` come from the transforms (`Transform.source`): a percussive part needs a margin on both sides, a
shift reads elsewhere, a stretch at rate 1.1 reads a tenth more. So a crop is cut short only by its clip's own ends.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gtzan_stream.geometry import Geometry

Chunks = Literal["study", "all"]
"""Which chunks of a clip an evaluation counts: those of its first 23.8 s, as the study did, or all of them."""

# The study's limits, in samples at its rate: they are times, and hold at any sample rate.
_STUDY_RATE = 22_050
_STUDY_LIMIT = 524_288  # an evaluation uses this much of a clip: 8 chunks of 128 frames of 512 samples
_STUDY_SHORTEST = 32_768  # a clip that is shorter than a crop counts from here on: half a chunk


@dataclass(frozen=True)
class Segments:
    """The part of its clip that each row of a batch reads.

    Attributes
    ----------
    start : int64 [batch]
        First sample, in the clip's time; may lie before the clip.
    length : int64 [batch]
        Samples to read; may reach past the clip.
    valid_frames : int64 [batch]
        Frames of the row's features whose centre lies inside the clip; the frames after them are padding.
    has_enough_audio : bool [batch]
        Whether to train on the row and count it: at least half of its frames lie inside the clip, or it holds all of a
        clip that is shorter than a crop, but not shorter than 32,768 / 22,050 s.
    """

    start: np.ndarray
    length: np.ndarray
    valid_frames: np.ndarray
    has_enough_audio: np.ndarray


def chunks_per_clip(lengths: np.ndarray, geometry: Geometry, chunks: Chunks) -> np.ndarray:
    """Count each clip's chunks: those with at least half of their frames inside the clip, but one at least.

    Parameters
    ----------
    lengths : int64 [clip]
        Samples in each clip.
    geometry : Geometry
    chunks : "study" or "all"
        "study" uses the clip's first 524,288 / 22,050 s: the chunks with at least half of their length in it.

    Returns
    -------
    int64 [clip]
    """
    n_frames = geometry.frames_in(lengths)
    counts = np.maximum((n_frames + geometry.frames // 2) // geometry.frames, 1)
    if chunks == "all":
        return counts
    limit, stride = _STUDY_LIMIT * geometry.sample_rate, _STUDY_RATE * geometry.stride  # in one unit, as whole numbers
    return np.minimum(counts, max((2 * limit + stride) // (2 * stride), 1))


def is_shorter_than_crop(lengths: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Which clips do not fill a crop, and so are padded: bool [clip]."""
    return geometry.frames_in(lengths) < geometry.frames


def chunk_starts(chunks: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Sample of its clip at which each chunk starts, given the chunks' numbers: int64 [batch]."""
    return np.asarray(chunks, np.int64) * geometry.stride


def random_starts(uniform: np.ndarray, lengths: np.ndarray, geometry: Geometry, rate: np.ndarray) -> np.ndarray:
    """Sample of its clip at which each random crop starts: uniform over the grid points that leave room for the crop.

    At rate r a crop of n frames covers ceil(n r) frames of its clip, so it has room to start at the first
    ``1 + (frames in the clip - ceil(n r)) * step // grid`` points of the grid, or only at 0.

    Parameters
    ----------
    uniform : float64 [batch]
        Random numbers in [0, 1).
    lengths : int64 [batch]
        Samples in each row's clip.
    geometry : Geometry
    rate : float64 [batch]
        How fast time runs in each crop.

    Returns
    -------
    int64 [batch]
    """
    covered = np.ceil(geometry.frames * rate).astype(np.int64)
    room = (geometry.frames_in(lengths) - covered) * geometry.step
    n_starts = np.maximum(room // geometry.grid, 0) + 1
    return np.floor(uniform * n_starts).astype(np.int64) * geometry.grid


def segments(
    starts: np.ndarray,
    lengths: np.ndarray,
    geometry: Geometry,
    rate: np.ndarray | None = None,
    before: np.ndarray | None = None,
    read_length: np.ndarray | None = None,
) -> Segments:
    """Find the segments that crops read.

    Parameters
    ----------
    starts : int64 [batch]
        Sample of its clip at which each crop starts.
    lengths : int64 [batch]
        Samples in each row's clip.
    geometry : Geometry
    rate : float64 [batch], optional
        How fast time runs in each crop; 1 by default.
    before, read_length : int64 [batch], optional
        What `Transform.source` says of ``geometry.read_length`` samples. By default 0 and ``geometry.read_length``:
        the crops as they lie in their clips.
    """
    rate = np.ones(len(starts)) if rate is None else rate
    before = np.zeros(len(starts), np.int64) if before is None else before
    read_length = np.full(len(starts), geometry.read_length) if read_length is None else read_length
    context = np.round(geometry.context * rate).astype(np.int64)
    played = np.floor((lengths - starts) / rate).astype(np.int64)  # samples from the crop's start to the clip's end
    valid_frames = np.clip(geometry.frames_in(played), 0, geometry.frames)
    whole = (starts <= 0) & (geometry.frames_in(played) <= geometry.frames)
    long_enough = lengths * _STUDY_RATE >= _STUDY_SHORTEST * geometry.sample_rate
    has_enough_audio = (2 * valid_frames >= geometry.frames) | (whole & long_enough)
    return Segments(starts - context - before, read_length, valid_frames, has_enough_audio)
