"""A mel basis as runs of bins, and the logarithm that is taken of its bands.

A mel band is a triangle over a few neighbouring bins, so 98 % of the basis [mel, freq] is zeros. Band m sums
``widths[m]`` bins from ``starts[m]`` on. With 128 bands and an n_fft of 1,024 that is 1,000 products a frame instead of
65,664. (On a GPU, a product of matrices is faster; it has only the bins of some neighbouring bands.)
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int


class Bands(NamedTuple):
    """A mel basis as runs of neighbouring bins.

    Band m is the sum of ``weights[m, i] * S[starts[m] + i]`` over ``0 <= i < widths[m]``. The weights of a band that is
    narrower than the widest are padded with zeros.
    """

    starts: Int[torch.Tensor, "mel"]
    widths: Int[torch.Tensor, "mel"]
    weights: Float[torch.Tensor, "mel widest"]


class LogCompression(NamedTuple):
    """Logarithm of a mel band m: ``scale * log(1 + gain * m)`` if gain > 0, else ``scale * log(max(m, floor))``.

    log10(1 + 10 m) is (1 / ln 10, 10, 0). Decibels of summed magnitudes, not below -100 dB, are (20 / ln 10, 0, 1e-5).
    """

    scale: float
    gain: float
    floor: float


def bands(basis: Float[torch.Tensor, "mel freq"]) -> Bands:
    """Store a mel basis as the run of bins of each band.

    Raises
    ------
    ValueError
        If a band has no bin.

    Examples
    --------
    >>> bands(torch.tensor([[0.5, 1.0, 0.5, 0.0], [0.0, 0.0, 0.5, 1.0]])).starts
    tensor([0, 2], dtype=torch.int32)
    """
    nonzero = basis != 0
    empty = torch.nonzero(~nonzero.any(1)).flatten().tolist()
    if empty:
        raise ValueError(f"mel bands {empty} hold no frequency bin: choose a smaller n_mels or a larger n_fft")
    starts = nonzero.int().argmax(1)
    widths = basis.shape[1] - nonzero.flip(1).int().argmax(1) - starts
    i = torch.arange(int(widths.max()))
    weights = basis.gather(1, (starts[:, None] + i).clamp(max=basis.shape[1] - 1)) * (i < widths[:, None])
    return Bands(starts.int(), widths.int(), weights.contiguous())
