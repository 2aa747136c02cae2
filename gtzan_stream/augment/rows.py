"""Apply a transform to the rows of a batch, and report the rows for which it fails.

There are three ways:

- float32 on the CPU: row by row, in numpy and numba (`gtzan_stream.augment.steps`);
- float64 on the CPU, numba is missing, or a user's `run`: row by row, in torch;
- on a GPU, or with gradients, also of a transform's parameters: all rows at once, padded to the longest.

A row that is computed alone, at its own length, never depends on the rest of the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtzan_stream.augment.draw import Draw
from gtzan_stream.augment.steps import run_steps, steps_by_row
from gtzan_stream.augment.waveforms import check_computed
from gtzan_stream.dsp.backend import backend, for_rows
from gtzan_stream.dsp.rows import zero_after
from gtzan_stream.errors import UserError

OnFailure = Callable[[int, ValueError], object]
"""Gets the index of a row and its error, in any thread. It may raise an error, which ends the batch."""


def apply_rows(
    transform: Any,
    waveform: Tensor,
    draw: Draw,
    wanted: np.ndarray | None,
    failed: OnFailure | None,
    *,
    overwrite: bool = False,
) -> Tensor:
    """Apply `transform` to the rows of a batch.

    Parameters
    ----------
    transform : Transform
    waveform : Tensor [batch, time]
    draw : Draw
    wanted : int64 [batch], optional
        Output samples; without it rows are whole clips.
    failed : callable, optional
        Gets the rows that raise ValueError; they are zeros. Without it, the error is raised. A UserError does not
        concern one row alone, so it is always raised.
    overwrite : bool
        Whether the result may share memory with `waveform`, and what is after a row's samples may be overwritten.
    """
    width = waveform.shape[1] if wanted is None else int(wanted.max(initial=0))
    needed = np.full(len(draw), width) if wanted is None else transform.source(wanted, draw).length
    if waveform.shape[1] < needed.max(initial=0):
        raise ValueError(
            f"{type(transform).__name__}: expected rows of {needed.max()} samples, got {waveform.shape[1]}; "
            "read as many as source(length, draw) asks for"
        )
    if not len(draw) or not width:
        return waveform.new_zeros(len(draw), width)
    on_cpu = waveform.device.type == "cpu" and not waveform.requires_grad and not _learns(transform)
    if not on_cpu:
        try:
            lengths = None if wanted is None else needed
            return apply_batch(transform, waveform, draw, wanted, lengths, overwrite=overwrite)
        except ValueError as error:
            if failed is None or isinstance(error, UserError):
                raise
        # Now find the rows that fail.
    out = waveform.new_empty(len(draw), width)
    by_steps = backend(waveform) == "numba" and on_cpu and can_use_steps(transform)
    fill = (_fill_by_steps if by_steps else _fill_in_torch)(transform, waveform, draw, wanted, needed, out)

    def run_row(row: int) -> None:
        try:
            fill(row)
        except ValueError as error:
            if failed is None or isinstance(error, UserError):
                raise
            failed(row, error)
            out[row] = 0

    if on_cpu:
        for_rows(run_row, len(draw))
    else:  # not in other threads, as the current CUDA stream is that of this thread
        for row in range(len(draw)):
            run_row(row)
    return out


def can_use_steps(transform: Any) -> bool:
    """Return whether a row's steps are all that a transform does: not if `run` or `apply` are those of a user."""
    members = [module for module in transform.modules() if hasattr(module, "compute_row")]
    return all(
        getattr(type(member), name).__module__.startswith("gtzan_stream.augment.") and name not in vars(member)
        for member in members
        for name in ("run", "apply")
    ) and not any("compute" in vars(member) for member in members)


def _fill_by_steps(
    transform: Any, waveform: Tensor, draw: Draw, wanted: np.ndarray | None, needed: np.ndarray, out: Tensor
) -> Callable[[int], None]:
    """Return a function that fills a row of `out`, a float32 tensor on the CPU, without calling torch."""
    lengths = needed if wanted is None else wanted
    steps = steps_by_row(transform.leaves(draw), lengths, is_whole=wanted is None)
    rows, results = waveform.contiguous().numpy(), out.numpy()

    def fill(row: int) -> None:
        run_steps(steps[row], row, rows[row, : needed[row]], results[row, : lengths[row]])
        results[row, lengths[row] :] = 0

    return fill


def compute_in_torch(transform: Any, samples: np.ndarray, draw: Draw, is_whole: bool, out: np.ndarray) -> None:
    """Fill `out` by the `compute` of a transform, for a row's samples and the draw of that row alone."""
    name = type(transform).__name__
    waveform = torch.from_numpy(samples.copy())[None]  # a copy, because the transform may keep it
    result = check_computed(name, transform.compute(waveform, draw, None if is_whole else len(out)), 1, len(out))
    if result.requires_grad:
        raise UserError(
            f"{name}: a tensor with gradients is not a parameter of the module: make it an nn.Parameter, or detach it"
        )
    torch.from_numpy(out).copy_(result[0])


def _fill_in_torch(
    transform: Any, waveform: Tensor, draw: Draw, wanted: np.ndarray | None, needed: np.ndarray, out: Tensor
) -> Callable[[int], None]:
    """Return a function that fills a row of `out` with the result for a batch of this row alone."""

    def fill(row: int) -> None:
        own = slice(row, row + 1)
        length = out.shape[1] if wanted is None else wanted[row]
        result = transform.run(waveform[own, : needed[row]], draw[own], None if wanted is None else wanted[own])
        out[own, :length] = result
        out[own, length:] = 0

    return fill


def apply_batch(
    transform: Any,
    waveform: Tensor,
    draw: Draw,
    wanted: np.ndarray | None,
    needed: np.ndarray | None,
    *,
    overwrite: bool = False,
) -> Tensor:
    """Apply to all rows at once, padded to the longest one; `overwrite` as in `apply_rows`."""
    if needed is not None:
        waveform = zero_after(waveform[:, : needed.max()], needed, overwrite=overwrite)
    out: Tensor = transform.run(waveform, draw, wanted)
    shared = out.untyped_storage().data_ptr() == waveform.untyped_storage().data_ptr()
    return out.clone() if shared and not overwrite else out


def _learns(transform: Any) -> bool:
    """Return whether gradients of the transform's own parameters are to be recorded."""
    return torch.is_grad_enabled() and any(parameter.requires_grad for parameter in transform.parameters())
