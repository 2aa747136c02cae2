"""Run a transform on each row of a batch alone, and report the rows for which it fails."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from gtzan_stream.augment.draw import Draw
from gtzan_stream.dsp.backend import for_rows
from gtzan_stream.errors import UserError

OnFailure = Callable[[int, ValueError], object]
"""Gets the index of a row and its error, in any thread. It may raise an error, which ends the batch."""


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
