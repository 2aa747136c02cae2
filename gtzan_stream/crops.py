"""Which stretch of its clip each row of a batch reads, so that a crop is cut short only by the clip's own ends."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw
from gtzan_stream.dsp.random import stream, uniform
from gtzan_stream.plan import Rows


@runtime_checkable
class Geometry(Protocol):
    """What a feature says of the waveform it wants; see `gtzan_stream.features.LogMel` and `RawWaveform`."""

    sample_rate: int
    context: int
    hop_length: int
    frames: int
    samples: int
    window: int


@dataclass(frozen=True)
class Windows:
    """Where each row reads.

    Attributes
    ----------
    start : int64 [rows]
        First sample, in the clip's time; may lie before the clip.
    length : int64 [rows]
        Samples to read; may reach past the clip.
    valid_frames : int64 [rows]
        Frames of the row's features that lie inside the clip; the others are padding.
    counted : bool [rows]
        Whether the row is to be trained on and counted: at least half of it lies inside the clip, or it holds all of a
        clip of 1.5 s or more, which is shorter than what the network wants.
    """

    start: np.ndarray
    length: np.ndarray
    valid_frames: np.ndarray
    counted: np.ndarray


SHORTEST = 64 * 512  # samples, half a chunk of the study's


def frames_in(samples: np.ndarray, features: Geometry) -> np.ndarray:
    """Frames of a clip of so many samples: centred STFT frames, or the samples themselves."""
    step = _step(features)
    return samples if step == 1 else 1 + samples // step


def _step(features: Geometry) -> int:
    return features.samples // features.frames


def chunks_per_clip(lengths: np.ndarray, features: Geometry, limit_samples: int | None = None) -> np.ndarray:
    """Chunks in clips of `lengths` samples: those at least half inside the clip, and one at least.

    Parameters
    ----------
    lengths : int64 [clips]
        Samples in each clip.
    limit_samples : int, optional
        Leave out chunks that begin at this sample of the clip or later.
    """
    chunks = (frames_in(lengths, features) + features.frames // 2) // features.frames
    if limit_samples is not None:
        chunks = np.minimum(chunks, -(-limit_samples // features.samples))
    return np.maximum(chunks, 1)


def chunk_windows(rows: Rows, lengths: np.ndarray, features: Geometry) -> Windows:
    """Windows of an evaluation: crop number i is the clip's chunk i, untouched."""
    return _windows(
        rows.crops * features.samples, lengths, features, np.ones(len(lengths)), np.zeros(len(lengths), int)
    )


def random_windows(
    rows: Rows,
    lengths: np.ndarray,
    features: Geometry,
    transform: Transform,
    draw: Draw,
    *,
    seed: int,
    epoch: int,
    key_hash: np.ndarray,
) -> Windows:
    """Windows of a training batch: every sample starts at its own random frame of its clip.

    The start is drawn so that the crop, at its own speed, lies inside the clip where the clip is long enough; a pure
    function of (seed, epoch, key, crop), like the augmentation. What a transform reads around the crop (a percussive
    part's margin, the samples that a shift brings) may reach past the clip's ends, where the clip goes on as its
    reflection.
    """
    source = transform.source(features.window, draw)
    speed = transform.speed(draw)
    wanted = np.ceil(features.frames * speed).astype(np.int64)
    grid = features.hop_length // _step(features)  # crops start on the clip's own STFT frames
    starts = np.maximum((frames_in(lengths, features) - wanted) // grid, 0) + 1
    place = uniform(stream(seed, epoch, "crop"), key_hash, rows.crops.astype(np.uint32))[:, 0]
    start = np.floor(place * starts).astype(np.int64) * features.hop_length
    return _windows(start, lengths, features, speed, source.before, source.length)


def _windows(
    start: np.ndarray,
    lengths: np.ndarray,
    features: Geometry,
    speed: np.ndarray,
    before: np.ndarray,
    read: np.ndarray | None = None,
) -> Windows:
    context = np.round(features.context * speed).astype(np.int64)
    inside = np.floor((lengths - start) / speed).astype(np.int64)
    valid = np.clip(frames_in(inside, features), 0, features.frames)
    if read is None:
        read = np.full(len(start), features.window)
    whole = frames_in(np.floor(lengths / speed).astype(np.int64), features) <= valid
    counted = (2 * valid >= features.frames) | (whole & (valid * _step(features) >= SHORTEST))
    return Windows(start - context - before, read, valid, counted)
