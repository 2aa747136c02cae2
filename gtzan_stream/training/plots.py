"""Plots of a run: learning curves and the confusion matrix."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from gtzan_stream.inference.png import write_png


def learning_curves(path: Path, history: Sequence[dict[str, Any]], *, best_epoch: int) -> None:
    """Plot loss and accuracy by epoch, and mark the epoch of the network that was kept.

    Parameters
    ----------
    path : Path
        PNG to write.
    history : sequence of dict
        The rows of metrics.jsonl.
    best_epoch : int
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    curves = {
        ("loss", 0): {"training": "train_loss", "validation": "valid_loss"},
        ("accuracy", 1): {
            "training, per chunk": "train_accuracy",
            "validation, per chunk": "valid_chunk_accuracy",
            "validation, per track": "valid_track_accuracy",
        },
    }
    for (what, column_index), lines in curves.items():
        panel = panels[column_index]
        for label, column in lines.items():
            panel.plot(epochs, [row[column] for row in history], label=label, marker=".", markersize=5)
        panel.axvline(best_epoch, color="0.6", linestyle="--", linewidth=1, label=f"kept: epoch {best_epoch}")
        panel.set(xlabel="epoch", title=what.capitalize())
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(alpha=0.3)
        panel.legend(frameon=False)
    panels[0].set_ylim(bottom=0)
    panels[1].set_ylim(0, 1)
    panels[1].yaxis.set_major_formatter(PercentFormatter(1))
    write_png(path, figure)


def confusion_matrix(path: Path, counts: Sequence[Sequence[int]], genres: Sequence[str]) -> None:
    """Plot how often each genre was predicted for each true genre, coloured by its share of the row.

    Parameters
    ----------
    path : Path
        PNG to write.
    counts : sequence of sequence of int [genre, predicted genre]
    genres : sequence of str
    """
    table = np.asarray(counts)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    size = 2.5 + 0.55 * len(genres)
    figure = Figure(figsize=(size, size), layout="constrained")
    panel = figure.subplots()
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    panel.set_xticks(range(len(genres)), genres, rotation=45, ha="right")
    panel.set_yticks(range(len(genres)), genres)
    panel.set(xlabel="predicted genre", ylabel="genre", title="Test tracks")
    for (row, column), count in np.ndenumerate(table):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            panel.text(column, row, str(count), ha="center", va="center", color=colour)
    write_png(path, figure)
