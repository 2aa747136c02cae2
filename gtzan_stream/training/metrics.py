"""Accuracy per chunk, per track and per label, with confidence intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gtzan_stream.errors import UserError
from gtzan_stream.training.collectives import gather


@dataclass(frozen=True)
class Predictions:
    """A network's predictions for several examples.

    Attributes
    ----------
    probabilities : Tensor [example, n_classes]
    labels : Tensor [example], int64
    losses : Tensor [example]
        Cross-entropy.
    keys : list of str
        Key of the track that each example is from.
    chunks : list of int
        Which chunk of its track each example is; empty for whole tracks.
    """

    probabilities: Tensor
    labels: Tensor
    losses: Tensor
    keys: list[str]
    chunks: list[int]

    @property
    def correct(self) -> Tensor:
        """Whether the most probable class is the label: bool [example]."""
        return self.probabilities.argmax(dim=1) == self.labels

    @property
    def loss(self) -> float:
        """Mean cross-entropy; NaN without examples."""
        return self.losses.mean().item()

    @property
    def accuracy(self) -> float:
        """Share of examples that are classified correctly."""
        return self.correct.double().mean().item()


class Collector:
    """Collects predictions over batches and drops rows of weight 0."""

    def __init__(self) -> None:
        self._batches: list[Predictions] = []

    def add(
        self, logits: Tensor, labels: Tensor, weights: Tensor, keys: Sequence[str], chunks: Sequence[int] | np.ndarray
    ) -> None:
        """Add a batch: logits [batch, n_classes], labels, weights, keys of tracks and numbers of chunks [batch]."""
        logits, labels, counted = logits.float().cpu(), labels.cpu(), weights.cpu() > 0
        losses = cross_entropy(logits, labels, reduction="none")
        kept = counted.nonzero()[:, 0].tolist()
        self._batches.append(
            Predictions(
                logits.softmax(dim=1)[counted],
                labels[counted],
                losses[counted],
                [keys[row] for row in kept],
                [int(chunks[row]) for row in kept],
            )
        )

    def result(self) -> Predictions:
        """Return the predictions of all batches and ranks, in the order in which one process has them.

        Raises
        ------
        UserError
            If there are none.
        """
        batches = [rows for global_batch in zip(*gather(self._batches), strict=True) for rows in global_batch]
        if not any(batch.keys for batch in batches):
            raise UserError(
                "there is nothing to evaluate: every clip is too short for a crop or was skipped; "
                "run `gtzan-stream verify`, or choose fewer --frames"
            )
        return Predictions(
            torch.cat([batch.probabilities for batch in batches]),
            torch.cat([batch.labels for batch in batches]),
            torch.cat([batch.losses for batch in batches]),
            [key for batch in batches for key in batch.keys],
            [chunk for batch in batches for chunk in batch.chunks],
        )


def by_track(chunks: Predictions) -> Predictions:
    """Average the probabilities of each track's chunks. Tracks are in the order of their first chunks."""
    numbers = {key: number for number, key in enumerate(dict.fromkeys(chunks.keys))}
    track = torch.tensor([numbers[key] for key in chunks.keys])  # [chunk]
    probabilities = torch.zeros(len(numbers), chunks.probabilities.shape[1]).index_add(0, track, chunks.probabilities)
    probabilities /= torch.bincount(track)[:, None]
    labels = torch.zeros(len(numbers), dtype=torch.int64).index_copy(0, track, chunks.labels)
    losses = -probabilities.gather(1, labels[:, None])[:, 0].clamp(min=1e-12).log()
    return Predictions(probabilities, labels, losses, list(numbers), [])


def confusion(predictions: Predictions) -> Tensor:
    """Count examples by label and predicted class: int64 [label, predicted]."""
    n = predictions.probabilities.shape[1]
    return torch.bincount(predictions.labels * n + predictions.probabilities.argmax(dim=1), minlength=n * n).view(n, n)


def interval(correct: float, total: int) -> tuple[float, float]:
    """Compute the 95 % confidence interval of an accuracy, by Wilson's method.

    Parameters
    ----------
    correct : float
        Number of examples classified correctly, of `total` independent ones.

    References
    ----------
    .. [1] E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.

    Examples
    --------
    >>> [round(bound, 3) for bound in interval(8, 10)]
    [0.49, 0.943]
    """
    z = 1.959964
    share, z2 = correct / total, z * z
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = z / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def summary(chunks: Predictions, labels: Sequence[str]) -> dict[str, Any]:
    """Summarise an evaluation as a dict that JSON can hold.

    Chunks of one track are not independent, so both intervals are computed for as many examples as there are tracks.
    """
    tracks = by_track(chunks)
    n = len(tracks.keys)
    return {
        "loss": chunks.loss,
        "chunks": len(chunks.keys),
        "chunk_accuracy": chunks.accuracy,
        "chunk_interval": list(interval(chunks.accuracy * n, n)),
        "tracks": n,
        "track_accuracy": tracks.accuracy,
        "track_interval": list(interval(tracks.accuracy * n, n)),
        "labels": {label: _of_label(number, chunks, tracks) for number, label in enumerate(labels)},
        "confusion": confusion(tracks).tolist(),
        "most_wrong": most_wrong(chunks, tracks, labels),
    }


def most_wrong(chunks: Predictions, tracks: Predictions, labels: Sequence[str], most: int = 12) -> list[dict[str, Any]]:
    """Return the tracks with a wrong prediction whose own label is least probable, and the worst chunk of each."""
    worst = torch.argsort(tracks.losses, descending=True, stable=True).tolist()
    rows = []
    for track in [track for track in worst if not tracks.correct[track]][:most]:
        key, probabilities = tracks.keys[track], tracks.probabilities[track]
        own, predicted = int(tracks.labels[track]), int(probabilities.argmax())
        of_track = [i for i, other in enumerate(chunks.keys) if other == key]
        chunk = max(of_track, key=lambda i: float(chunks.losses[i]))
        rows.append(
            {
                "key": key,
                "label": labels[own],
                "predicted": labels[predicted],
                "label_probability": float(probabilities[own]),
                "predicted_probability": float(probabilities[predicted]),
                "chunk": chunks.chunks[chunk],
            }
        )
    return rows


def _of_label(number: int, chunks: Predictions, tracks: Predictions) -> dict[str, Any]:
    """Return a label's recall per chunk and per track, and its precision per track."""
    own = tracks.labels == number
    return {
        "tracks": int(own.sum()),
        "chunk_recall": _mean(chunks.correct[chunks.labels == number]),
        "track_recall": _mean(tracks.correct[own]),
        "track_precision": _mean(own[tracks.probabilities.argmax(dim=1) == number]),
    }


def _mean(values: Tensor) -> float | None:
    return values.double().mean().item() if len(values) else None
