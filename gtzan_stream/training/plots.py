"""Figures of a run: learning curves and the confusion matrix."""

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

CURVES = {
    "loss": {"training": "train_loss", "validation": "valid_loss"},
    "accuracy": {
        "training, per chunk": "train_accuracy",
        "validation, per chunk": "valid_chunk_accuracy",
        "validation, per track": "valid_track_accuracy",
    },
}
"""Columns of metrics.jsonl by the names of their curves, for each panel."""
WITH_COUNTS = 40  # most labels with a number in each cell of the confusion matrix
MAX_INCHES = 24.0  # largest side of the confusion matrix


def draw_curves(panel: Axes, what: str, history: Sequence[dict[str, Any]], *, best_epoch: int) -> None:
    """Draw the curves of `what`, a key of `CURVES`, by epoch. No line or point is cut off or lies under the legend."""
    epochs = [row["epoch"] for row in history]
    values: list[float] = []
    for label, column in CURVES[what].items():
        curve = [row[column] for row in history]
        values += curve
        panel.plot(epochs, curve, label=label, marker=".", markersize=5, clip_on=False, zorder=3)
    panel.axvline(best_epoch, color="0.6", linestyle="--", linewidth=1, label=f"kept: epoch {best_epoch}")
    panel.set(xlabel="epoch", title=what.capitalize(), xlim=(min(epochs) - 0.5, max(epochs) + 0.5))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    panel.grid(alpha=0.3)
    panel.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    if what == "accuracy":
        panel.set_ylim(0, 1)
        panel.yaxis.set_major_formatter(PercentFormatter(1))
    else:
        set_loss_scale(panel, values)


def set_loss_scale(panel: Axes, losses: Sequence[float]) -> None:
    """Set a scale that shows all losses: from 0, or logarithmic if one of them is far above the others."""
    if min(losses) > 0 and max(losses) > 10 * median(losses):
        panel.set_yscale("log")
        panel.set_ylim(min(losses) / 1.2, max(losses) * 1.2)
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    else:
        panel.set_ylim(0, 1.05 * max(losses) or 1)


def confusion_matrix(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> Figure:
    """Plot how often each label was predicted for each true label, coloured by its share of the row.

    Parameters
    ----------
    counts : sequence of sequence of int [label, predicted label]
    labels : sequence of str
    """
    table = np.asarray(counts)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    size = min(2.5 + 0.55 * len(labels), MAX_INCHES)
    figure = Figure(figsize=(size, size), layout="constrained")
    panel = figure.subplots()
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    font = min(10.0, 0.6 * 72 * (size - 2.5) / len(labels))  # points, lower than a row
    panel.set_xticks(range(len(labels)), labels, rotation=45, ha="right", parse_math=False, fontsize=font)
    panel.set_yticks(range(len(labels)), labels, parse_math=False, fontsize=font)
    panel.set(xlabel="predicted label", ylabel="true label", title="Test tracks")
    for (row, column), count in np.ndenumerate(table):
        if count and len(labels) <= WITH_COUNTS:
            colour = "white" if shares[row, column] > 0.5 else "black"
            panel.text(column, row, str(count), ha="center", va="center", color=colour)
    return figure
