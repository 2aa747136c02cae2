"""Views: for the rows of a batch, draw one or several augmentations, and find where crops start and what they read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gtzan_stream import crops
from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw, Examples
from gtzan_stream.errors import UserError
from gtzan_stream.geometry import MAX_CROP_SAMPLES, Geometry

MAX_VIEWS = 64


@dataclass(frozen=True)
class BatchKind:
    """What kind of batches an iteration yields.

    Attributes
    ----------
    transform : Transform
    training : bool
        True for random crops; False for chunks, with crop indices as chunk indices.
    all_count : bool
        Whether every example has enough audio to count, so that rows need not be counted one by one.
    views : int
        Augmentations of each example.
    mixup : float
        Parameter of the beta distribution of `mixup.draw_shares`; 0 for no mixtures.
    """

    transform: Transform
    training: bool
    all_count: bool
    views: int = 1
    mixup: float = 0.0


@dataclass(frozen=True)
class View:
    """One augmentation of some examples.

    Attributes
    ----------
    examples : Examples
    draw : Draw
    starts : int64 [batch]
        Sample of the clip at which each crop starts.
    segments : Segments
        What each crop reads, and whether it counts.
    """

    examples: Examples
    draw: Draw
    starts: np.ndarray
    segments: crops.Segments


def draw_views(examples: Sequence[Examples], lengths: np.ndarray, geometry: Geometry, kind: BatchKind) -> list[View]:
    """Draw each view of some examples.

    Parameters
    ----------
    examples : sequence of Examples
        One item for each view: the same examples, with that view's seed.
    lengths : int64 [batch]
        Samples in each example's clip.
    geometry : Geometry
    kind : BatchKind

    Returns
    -------
    list of View
        All views of an example start at about the same place: the random number for its start is that of view 0.
    """
    uniform = examples[0].uniform("crop") if kind.training else None
    return [_draw_view(of_view, uniform, lengths, geometry, kind.transform) for of_view in examples]


def _draw_view(
    examples: Examples, uniform: np.ndarray | None, lengths: np.ndarray, geometry: Geometry, transform: Transform
) -> View:
    """Draw one view; without random numbers for the starts, crop indices are chunk indices."""
    draw = transform.draw_for(examples, type(transform).__name__)
    rate = transform.rate(draw)
    if uniform is None:
        starts = crops.chunk_starts(examples.crops, geometry)
    else:
        starts = crops.random_starts(uniform, lengths, geometry, rate)
    source = transform.source(geometry.read_length, draw)
    if (longest := int(source.length.max())) > MAX_CROP_SAMPLES:
        raise UserError(
            f"augmentation {type(transform).__name__}: a crop would read {longest:,} samples of its clip, and "
            f"{MAX_CROP_SAMPLES:,} are allowed: choose lower rates"
        )
    segments = crops.segments(
        starts, lengths, geometry, rate, source.before, source.length, is_random=uniform is not None
    )
    return View(examples, draw, starts, segments)
