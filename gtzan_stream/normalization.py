"""Normalisations of features: to mean 0 and variance 1, over what each one's name says."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gtzan_stream.errors import UserError
from gtzan_stream.shapes import Features

NORMALIZATIONS = ("none", "global", "mel", "clip", "batch")
_SMALLEST_STD = 1e-5


class Normalization(nn.Module):
    """Bring features to mean 0 and variance 1.

    Parameters
    ----------
    kind : "none", "global", "mel", "clip" or "batch"
        Over what: nothing; the whole training set; the training set, each mel band apart; each example apart; each
        batch, band by band, with running statistics when evaluating (batch norm).
    n_mels : int
        Bands; 1 for waveforms.

    Notes
    -----
    "global" and "mel" need `estimate` first. All statistics are buffers, so checkpoints hold them. What does not vary
    becomes 0.

    Examples
    --------
    >>> normalize = Normalization("global")
    >>> normalize.estimate([torch.full((2, 128, 4), 3.0), torch.full((2, 128, 4), 5.0)])
    >>> normalize(torch.full((1, 128, 1), 5.0)).mean().item()
    1.0
    """

    mean: Tensor
    std: Tensor

    def __init__(self, kind: str = "none", n_mels: int = 128) -> None:
        super().__init__()
        if kind not in NORMALIZATIONS:
            raise ValueError(f"normalization must be one of {', '.join(NORMALIZATIONS)}, got {kind!r}")
        if n_mels < 1:
            raise ValueError(f"n_mels must be at least 1, got {n_mels}")
        self.kind = kind
        bins = n_mels if kind == "mel" else 1
        self.register_buffer("mean", torch.zeros(bins, 1))
        self.register_buffer("std", torch.ones(bins, 1))
        self.batch_norm = nn.BatchNorm1d(n_mels, affine=False) if kind == "batch" else None

    @property
    def needs_estimate(self) -> bool:
        """Whether the statistics come from the training set, by `estimate`."""
        return self.kind in ("global", "mel")

    def forward(self, features: Features) -> Features:
        if self.kind == "none":
            return features
        if self.batch_norm is not None:
            return self.batch_norm(features)
        if self.kind == "clip":
            std, mean = torch.std_mean(features, dim=(1, 2), correction=0, keepdim=True)
            return (features - mean) / std.clamp(min=_SMALLEST_STD)
        return (features - self.mean) / self.std

    @torch.no_grad()
    def estimate(self, batches: Iterable[Tensor | tuple[Tensor, Tensor]]) -> None:
        """Estimate mean and standard deviation from batches, in one pass, in float64.

        Parameters
        ----------
        batches : iterable of Tensor [batch, mel, frame], or of pairs with weights [batch]
            Rows of weight 0 do not count.

        Raises
        ------
        ValueError
            If all weights together are 0.
        """
        if not self.needs_estimate:
            return
        count = self.mean.new_zeros((), dtype=torch.float64)
        mean, squares = (torch.zeros_like(self.mean, dtype=torch.float64) for _ in range(2))
        over = (0, 2) if self.kind == "mel" else (0, 1, 2)
        for batch in batches:
            features, weights = batch if isinstance(batch, tuple) else (batch, batch.new_ones(len(batch)))
            values = features.to(self.mean.device).double()
            weight = weights.to(values)[:, None, None].expand_as(values)
            n = weight.sum(over).mean() if self.kind == "global" else weight[:, 0].sum()
            here = ((values * weight).sum(over) / n.clamp(min=1e-300)).reshape(-1, 1)
            spread = ((values - here).square() * weight).sum(over).reshape(-1, 1)
            count = count + n  # the pooled mean and squares of two groups: Chan, Golub, LeVeque 1979
            share = n / count.clamp(min=1e-300)
            squares = squares + spread + (here - mean).square() * (count - n) * share
            mean = mean + (here - mean) * share
        if not count > 0:
            raise UserError(
                "the normalization has nothing to estimate from: every clip is too short for it, or was skipped"
            )
        self.mean.copy_(mean)
        self.std.copy_((squares / count).sqrt().clamp(min=_SMALLEST_STD))
