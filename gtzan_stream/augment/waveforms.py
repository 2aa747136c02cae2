"""Check the shape and change the length of batches of waveforms."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def check_shape(owner: str, waveform: Tensor) -> None:
    """Raise unless `waveform` is a tensor (TypeError) of shape [batch, time] or [batch, channel, time] (ValueError)."""
    if not isinstance(waveform, Tensor):
        raise TypeError(f"{owner}: expected a torch tensor, got {type(waveform).__name__}; torch.as_tensor(waveform)")
    if waveform.ndim not in (2, 3):
        raise ValueError(
            f"{owner}: expected a waveform [batch, time] or [batch, channel, time], got shape {tuple(waveform.shape)}"
        )


def check_examples(owner: str, waveform: Tensor, n_examples: int) -> None:
    """Raise unless `waveform` has `n_examples` examples (ValueError) and is float32 or float64 (TypeError)."""
    check_shape(owner, waveform)
    if len(waveform) != n_examples:
        raise ValueError(f"{owner}: expected the {n_examples} examples of the draw, got {len(waveform)}")
    if waveform.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{owner}: expected float32 or float64, full scale at +/-1, got {waveform.dtype}")


def check_computed(owner: str, out: object, n_rows: int, length: int) -> Tensor:
    """Return the result of a transform's `compute`. Raise TypeError unless it is a tensor [n_rows, length]."""
    if isinstance(out, Tensor) and out.shape == (n_rows, length):
        return out
    got = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
    raise TypeError(f"{owner}.compute: expected a tensor [{n_rows}, {length}], got {got}")


def fit(waveform: Tensor, width: int) -> Tensor:
    """Cut to `width` samples, or zero-pad at the end. The result is a view if nothing is padded."""
    missing = width - waveform.shape[1]
    return nn.functional.pad(waveform, (0, missing)) if missing > 0 else waveform[:, :width]
