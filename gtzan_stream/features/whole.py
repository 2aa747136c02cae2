"""Features of whole clips."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gtzan_stream.shapes import Features, Waveform


def whole_clips(features: nn.Module, waveform: Waveform) -> Features:
    """Compute all frames of whole clips, the first of them centred on sample 0; both ends continue by reflection.

    A crop that the loader reads, without augmentation, is a piece of this.

    Parameters
    ----------
    features : Module
        With a `geometry`.
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
    """Continue each example by `n` samples on both sides, as numpy's "reflect": repeated where it is short."""
    time = waveform.shape[1]
    if time == 0:
        raise ValueError("a waveform of no samples cannot be reflected")
    beyond = [torch.arange(start, start + n, device=waveform.device) for start in (-n, time)]
    index = torch.cat(beyond) % max(2 * time - 2, 1)
    ends = waveform[:, torch.minimum(index, (2 * time - 2 - index).abs())]
    return torch.cat([ends[:, :n], waveform, ends[:, n:]], 1)
