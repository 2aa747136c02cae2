"""Normalise features to mean 0 and variance 1, over the training set, each mel band, each example or each batch."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gtzan_stream.errors import UserError
from gtzan_stream.shapes import Features

NORMALIZATIONS = ("none", "global", "mel", "clip", "batch")
_SMALLEST_STD = 1e-5


class Normalization(nn.Module):
    """Module that normalises features to mean 0 and variance 1.

    Parameters
    ----------
    kind : "none", "global", "mel", "clip" or "batch"
        Where mean and variance come from: "none" changes nothing; "global" is the whole training set; "mel" is the
        training set, each mel band separately; "clip" (the study's name) is each example, so each crop, separately;
        "batch" is batch norm, each mel band separately, with running statistics in evaluation mode.
    n_mels : int
        Number of mel bands; 1 for waveforms.

    Notes
    -----
    "global" and "mel" need a call of `estimate` first. All statistics are buffers, so checkpoints hold them. Constant
    features become 0.

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
        n_bands = n_mels if kind == "mel" else 1
        self.register_buffer("mean", torch.zeros(n_bands, 1))
        self.register_buffer("std", torch.ones(n_bands, 1))
        self.batch_norm = nn.BatchNorm1d(n_mels, affine=False) if kind == "batch" else None

    @property
    def needs_estimate(self) -> bool:
        """Whether `estimate` must be called, because the statistics are those of the training set."""
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

        Squared deviations are summed around the mean of each batch and then merged (Chan, Golub, LeVeque 1979),
        because ``mean(x**2) - mean(x)**2`` loses all digits where the mean is large. Two groups of n_a and n_b values,
        with means m_a and m_b and sums of squared deviations S_a and S_b, have together::

            m = m_a + (m_b - m_a) * n_b / (n_a + n_b)
            S = S_a + S_b + (m_b - m_a)**2 * n_a * n_b / (n_a + n_b)

        Parameters
        ----------
        batches : iterable of Tensor [batch, mel, frame], or of pairs (features, weights [batch])
            Rows of weight 0 do not count.

        Raises
        ------
        UserError
            If the weights sum to 0.
        """
        if not self.needs_estimate:
            return
        count = self.mean.new_zeros((), dtype=torch.float64)
        mean, squares = (torch.zeros_like(self.mean, dtype=torch.float64) for _ in range(2))
        axes = (0, 2) if self.kind == "mel" else (0, 1, 2)
        for batch in batches:
            features, weights = batch if isinstance(batch, tuple) else (batch, batch.new_ones(len(batch)))
            values = features.to(self.mean.device).double()
            weight = weights.to(values)[:, None, None].expand_as(values)
            n = weight.sum() if self.kind == "global" else weight[:, 0].sum()
            batch_mean = ((values * weight).sum(axes) / n.clamp(min=1e-300)).reshape(-1, 1)
            batch_squares = ((values - batch_mean).square() * weight).sum(axes).reshape(-1, 1)
            count = count + n
            share = n / count.clamp(min=1e-300)
            squares = squares + batch_squares + (batch_mean - mean).square() * (count - n) * share
            mean = mean + (batch_mean - mean) * share
        if not count > 0:
            raise UserError(
                "the normalization has no data to estimate from: every clip is too short for a crop or was skipped; "
                "run `gtzan-stream verify`, or choose fewer --frames"
            )
        self.mean.copy_(mean)
        self.std.copy_((squares / count).sqrt().clamp(min=_SMALLEST_STD))
