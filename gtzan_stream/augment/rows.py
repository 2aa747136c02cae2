"""Apply a transform to each row of a batch alone, and report the rows for which it fails.

There are two ways. Both compute a row at its own length, so that its result never depends on the rest of the batch.

- `run_rows` runs the transform on a batch of one row, in torch, on any device and for any dtype.
- `run_steps` is for float32 on the CPU. Once a batch, `steps_by_row` lists the steps of each row: the transforms that
  change it, and how many samples each makes. A row then only runs its steps, in numpy and numba. For instance with
  `OneOf` of two transforms and then `Gain`, where row 1 is only amplified::

      row 0   TimeStretch 70,000 -> 66,048 samples, Gain 66,048 -> 66,048
      row 1   Gain 66,048 -> 66,048
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from gtzan_stream.augment.draw import Draw, Source
from gtzan_stream.dsp.backend import for_rows
from gtzan_stream.dsp.scratch import borrowed
from gtzan_stream.errors import UserError

OnFailure = Callable[[int, ValueError], object]
"""Gets the index of a row and its error, in any thread. It may raise an error, which ends the batch."""


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


def apply_steps(
    steps: Sequence[Sequence[Step]],
    waveform: Tensor,
    needed: np.ndarray | None,
    wanted: np.ndarray | None,
    width: int,
    failed: OnFailure | None,
) -> Tensor:
    """Run the steps of each row of a float32 waveform on the CPU; otherwise like `run_rows`."""
    out = torch.empty(len(steps), width, dtype=torch.float32)
    rows, results = waveform.contiguous().numpy(), out.numpy()

    def run_row(row: int) -> None:
        n_read = rows.shape[1] if needed is None else int(needed[row])
        n_made = width if wanted is None else int(wanted[row])
        try:
            run_steps(steps[row], row, rows[row, :n_read], results[row, :n_made])
            results[row, n_made:] = 0
        except ValueError as error:
            if failed is None or isinstance(error, UserError):
                raise
            failed(row, error)
            results[row] = 0

    for_rows(run_row, len(steps))
    return out


def run_rows(
    run: Callable[[Tensor, Draw, np.ndarray | None], Tensor],
    waveform: Tensor,
    draw: Draw,
    wanted: np.ndarray | None,
    needed: np.ndarray | None,
    width: int,
    failed: OnFailure | None,
) -> Tensor:
    """Run on each row alone, at its own length, so that results never depend on the rest of the batch.

    Rows that fail are zeros. Without `failed`, their error is raised. A UserError does not concern one row alone, so it
    is always raised.
    """
    out = waveform.new_empty(len(draw), width)

    def run_row(row: int) -> None:
        own = slice(row, row + 1)
        try:
            if wanted is None or needed is None:
                out[own] = run(waveform[own], draw[own], None)
            else:
                out[own, : wanted[row]] = run(waveform[own, : needed[row]], draw[own], wanted[own])
                out[own, wanted[row] :] = 0
        except ValueError as error:
            if failed is None or isinstance(error, UserError):
                raise
            failed(row, error)
            out[own] = 0

    if waveform.device.type == "cpu":
        for_rows(run_row, len(draw))
    else:  # not in other threads, as the current CUDA stream is that of this thread
        for row in range(len(draw)):
            run_row(row)
    return out
