"""Compute features of whole clips, to compare with the crops of a loader."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gtzan_stream.dsp.backend import backend, for_rows
from gtzan_stream.shapes import Features, Waveform


def whole_clips(features: nn.Module, waveform: Waveform) -> Features:
    """Compute all frames of whole clips, the first one centred on sample 0; beyond both ends clips are reflected.

    Without augmentation, the crops that a loader reads are pieces of the result.

    Parameters
    ----------
    features : Module
        A feature, with a `geometry`.
    waveform : Tensor [batch, time]

    Returns
    -------
    Tensor [batch, row, ``features.geometry.frames_in(time)``]

    Raises
    ------
    ValueError
        If the clips have no samples.

    Examples
    --------
    >>> from gtzan_stream.features import LogMel
    >>> whole_clips(LogMel(), torch.zeros(1, 5120)).shape
    torch.Size([1, 128, 11])
    """
    geometry: Any = features.geometry
    return features(_reflect(waveform, geometry.context))


def _reflect(waveform: Tensor, n: int) -> Float[Tensor, "batch padded"]:
    """Pad each example by `n` samples on both sides, as ``numpy.pad(mode="reflect")``: d c b | a b c d | c b a.

    The reflected waveform has a period of ``2 * time - 2`` samples, so `n` may exceed the waveform.
    """
    time = waveform.shape[1]
    if time == 0:
        raise ValueError("expected at least one sample, got a waveform with no samples")
    beyond = [torch.arange(start, start + n, device=waveform.device) for start in (-n, time)]
    index = torch.cat(beyond) % max(2 * time - 2, 1)
    index = torch.minimum(index, (2 * time - 2 - index).abs())
    if backend(waveform) != "numba":
        return torch.cat([waveform[:, index[:n]], waveform, waveform[:, index[n:]]], 1)
    padded = waveform.new_empty(len(waveform), time + 2 * n)
    rows, out, before, after = waveform.numpy(), padded.numpy(), index[:n].numpy(), index[n:].numpy()
    # In our own threads, because those of torch would go on waiting actively, on the cores that the features need.
    for_rows(lambda i: np.concatenate([rows[i, before], rows[i], rows[i, after]], out=out[i]), len(rows))
    return padded
