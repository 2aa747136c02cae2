"""List the steps of each row of a batch once, and run them on float32 samples on the CPU.

A chain of transforms has a draw for the whole batch, and taking one row out of it costs more than some transforms take.
So `steps_by_row` first lists, for each row, the transforms that change it, the row's index in their draws, and how many
samples each makes. A row then only runs its steps, in numpy and numba. For instance with `OneOf` of two transforms and
then `Gain`, where row 1 is only amplified::

    row 0   TimeStretch: 70,000 samples to 66,048    Gain: 66,048 to 66,048
    row 1   Gain: 66,048 to 66,048
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from gtzan_stream.augment.draw import Draw, Source
from gtzan_stream.dsp.scratch import borrowed


@runtime_checkable
class Leaf(Protocol):
    """A transform that computes something itself, rather than through its members."""

    def source(self, length: np.ndarray, draw: Draw) -> Source: ...

    def compute_row(self, samples: np.ndarray, draw: Draw, row: int, before: int | None, out: np.ndarray) -> None: ...


class Step(NamedTuple):
    """One transform of a row: `before` as `Transform.compute_row` takes it, and the samples that it makes."""

    transform: Leaf
    draw: Draw
    before: int | None
    length: int


def steps_by_row(
    leaves: Sequence[tuple[Leaf, Draw]], lengths: np.ndarray, *, is_whole: bool = False
) -> list[list[Step]]:
    """List the steps of each row.

    Parameters
    ----------
    leaves : sequence of (Leaf, Draw)
        As `Transform.leaves` returns them.
    lengths : int64 [batch]
        Samples that each row's last step makes.
    is_whole : bool
        Whether the rows are whole clips, which keep their length.
    """
    steps: list[list[Step]] = [[] for _ in lengths]
    for leaf, draw in reversed(leaves):  # the last makes `lengths` samples; each step's input gives the step before it
        rows = np.flatnonzero(draw.chosen).tolist()
        if not rows:
            continue
        made = lengths.tolist()
        if is_whole:
            before = [None] * len(lengths)
        else:
            source = leaf.source(lengths, draw)
            before, lengths = source.before.tolist(), source.length
        for row in rows:
            steps[row].append(Step(leaf, draw, before[row], made[row]))
    for own in steps:
        own.reverse()
    return steps


def run_steps(steps: Sequence[Step], row: int, samples: np.ndarray, out: np.ndarray) -> None:
    """Fill `out` with a row's samples after its steps; without steps, with its first ``len(out)`` samples."""
    if not steps:
        out[:] = samples[: len(out)]
        return
    transform, draw, before, length = steps[0]
    if len(steps) == 1:
        transform.compute_row(samples, draw, row, before, out)
        return
    with borrowed(length, np.float32) as result:
        transform.compute_row(samples, draw, row, before, result)
        run_steps(steps[1:], row, result, out)
