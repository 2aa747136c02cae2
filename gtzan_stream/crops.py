"""Where crops start in their clips, and which samples they read: pure functions of a feature's geometry.

Frame t of a clip is centred on sample ``t * step``. A crop that starts at sample s of its clip, a multiple of the
geometry's grid, holds the frames centred on ``s, s + rate * step, s + 2 * rate * step, ...``, where `rate` says how
fast the augmentation makes time run. To compute them, the loader reads one segment of the clip::

    start  = s - round(context * rate) - before
    length = the samples that the transforms need to fill `read_length` samples of output

    start                              s                                         start + length
      |<- before ->|<- context * rate ->|<- centres of the frames, their ends, margin ->|
      |<------------------------------ length ----------------------------------------->|

The first frame reads `context` samples before its centre; at rate 2 these are ``2 * context`` samples of the clip.
`before` and `length` come from the transforms (`Transform.source`): `Percussive` needs a margin on both sides,
`TimeShift` moves the segment, `TimeStretch` at rate 1.1 reads about a tenth more. The augmented crop therefore has no
edge effects, and is padded only where its clip begins or ends.

With the default features, ``step = context = 512`` and ``read_length = 127 * 512 + 1024 = 66048``. Without
augmentation, a crop that starts at s = 5120 reads the 66,048 samples from 4608 on. `TimeStretch` at rate 1.5 needs a
margin of 1792 samples before them, so it reads 103,168 samples from ``5120 - 768 - 1792 = 2560`` on.

Random crops start at the grid points from which the crop fits into the clip, all equally likely. A crop of n frames at
rate r covers ``ceil(n * r)`` frames of its clip, which leaves this room, in samples, and this number of starts::

    room     = (frames in the clip - ceil(n * r)) * step
    n_starts = max(room // grid, 0) + 1
    s        = floor(u * n_starts) * grid        with u uniform in [0, 1)

A clip of 151 frames has ``(151 - 128) + 1 = 24`` starts at rate 1. At rate 1.5 the 192 frames do not fit: the crop
starts at 0 and its end is padded. The rate must be drawn before the start, because it decides how much room there is.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gtzan_stream.geometry import Geometry

Chunks = Literal["study", "all"]
"""Which chunks of a clip an evaluation counts: those of its first 23.8 s, as the study did, or all."""

# The study's limits are times, which hold at any sample rate. They are given in samples at the study's 22,050 Hz.
_STUDY_SAMPLE_RATE = 22_050
_STUDY_LIMIT = 524_288  # An evaluation uses this much of a clip: 8 chunks of 128 frames of 512 samples.
_STUDY_SHORTEST = 32_768  # A clip that is shorter than a crop counts from this length on: half a chunk.


@dataclass(frozen=True)
class Segments:
    """The part of the clip that each row of a batch reads.

    Attributes
    ----------
    start : int64 [batch]
        Index of the first sample to read. Negative before the clip's beginning.
    length : int64 [batch]
        Samples to read. They may extend beyond the clip's end.
    valid_frames : int64 [batch]
        Number of leading frames that are centred inside the clip. The frames after them are padding.
    has_enough_audio : bool [batch]
        Whether the row counts in losses and metrics: at least half of its frames are valid, or its clip is at least
        32,768 / 22,050 s long and the crop holds all of it. A random crop of a clip of at least that length always
        counts.
    """

    start: np.ndarray
    length: np.ndarray
    valid_frames: np.ndarray
    has_enough_audio: np.ndarray


def chunks_per_clip(lengths: np.ndarray, geometry: Geometry, chunks: Chunks) -> np.ndarray:
    """Count the chunks of each clip: those with at least half of their frames inside the clip, and at least one.

    Parameters
    ----------
    lengths : int64 [clip]
        Samples in each clip.
    geometry : Geometry
    chunks : "study" or "all"
        "study" counts only chunks with at least half of their length in the clip's first 524,288 / 22,050 s.

    Returns
    -------
    int64 [clip]
    """
    n_frames = geometry.frames_in(lengths)
    counts = np.maximum((n_frames + geometry.frames // 2) // geometry.frames, 1)
    if chunks == "all":
        return counts
    # Multiplied by both sample rates, the times are whole numbers, and round(limit / stride) is exact.
    limit, stride = _STUDY_LIMIT * geometry.sample_rate, _STUDY_SAMPLE_RATE * geometry.stride
    return np.minimum(counts, max((2 * limit + stride) // (2 * stride), 1))


def is_shorter_than_crop(lengths: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return a mask of the clips that are shorter than one crop and therefore padded: bool [clip]."""
    return geometry.frames_in(lengths) < geometry.frames


def chunk_starts(chunks: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return the sample of the clip at which each chunk starts, given the chunk indices: int64 [batch]."""
    return np.asarray(chunks, np.int64) * geometry.stride


def is_long_enough(lengths: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return a mask of the clips so long that all their chunks and random crops count: bool [clip]."""
    return lengths * _STUDY_SAMPLE_RATE >= _STUDY_SHORTEST * geometry.sample_rate


def random_starts(uniform: np.ndarray, lengths: np.ndarray, geometry: Geometry, rate: np.ndarray) -> np.ndarray:
    """Return the sample of the clip at which each random crop starts.

    It is uniform over the grid points from which the crop fits into its clip, or 0 if there are none. The module
    docstring has the formula.

    Parameters
    ----------
    uniform : float64 [batch]
        Random numbers in [0, 1). `draw_views` draws them, as the choice ``crop``.
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
    source_length: np.ndarray | None = None,
    *,
    is_random: bool = False,
) -> Segments:
    """Find the segment that each crop reads.

    Parameters
    ----------
    starts : int64 [batch]
        Sample of the clip at which each crop starts.
    lengths : int64 [batch]
        Samples in each row's clip.
    geometry : Geometry
    rate : float64 [batch], optional
        How fast time runs in each crop; 1 by default.
    before, source_length : int64 [batch], optional
        ``before`` and ``length`` of `Transform.source` for ``geometry.read_length`` samples of output. By default 0 and
        ``geometry.read_length``, for crops that are not augmented.
    is_random : bool
        Whether `starts` are `random_starts`.
    """
    rate = np.ones(len(starts)) if rate is None else rate
    before = np.zeros(len(starts), np.int64) if before is None else before
    source_length = np.full(len(starts), geometry.read_length) if source_length is None else source_length
    context = np.round(geometry.context * rate).astype(np.int64)
    # Samples from the crop's start to the clip's end, after the rate has shortened or lengthened them.
    remaining = np.floor((lengths - starts) / rate).astype(np.int64)
    valid_frames = np.clip(geometry.frames_in(remaining), 0, geometry.frames)
    # A crop with less than half of its frames valid holds its whole clip if it starts at the clip's beginning. Random
    # crops start there unless they fit into their clip.
    holds_clip = is_random | (starts <= 0)
    has_enough_audio = (2 * valid_frames >= geometry.frames) | (holds_clip & is_long_enough(lengths, geometry))
    return Segments(starts - context - before, source_length, valid_frames, has_enough_audio)
