"""Plot genre probabilities over time."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from gtzan_stream.inference.classify import Track
from gtzan_stream.inference.png import write_png

NAMED = 6  # number of genres with a colour and a legend entry; the others are grey


def plot_timeline(path: Path, track: Track) -> None:
    """Plot the probability of each genre over time, stacked, and write a PNG.

    Parameters
    ----------
    path : Path
        File to write; its folder is created.
    track : Track
    """
    order = np.argsort(-track.probabilities, kind="stable")
    edges = np.minimum(np.append(track.starts_s, track.starts_s[-1] + track.chunk_s), track.duration_s)
    middle, widths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    panel = figure.subplots()
    bottom = np.zeros(len(widths))
    for rank, genre in enumerate(order[:NAMED]):
        label = f"{track.labels[genre]} {track.probabilities[genre]:.0%}"
        shares = track.chunk_probabilities[:, genre]
        panel.bar(middle, shares, widths, bottom, label=label, color=colormaps["tab10"](rank))
        bottom += shares
    if len(order) > NAMED:
        rest = track.chunk_probabilities[:, order[NAMED:]].sum(axis=1)
        share = track.probabilities[order[NAMED:]].sum()
        panel.bar(middle, rest, widths, bottom, label=f"{len(order) - NAMED} others {share:.0%}", color="0.85")
    panel.vlines(edges[1:-1], 0, 1, color="white", linewidth=0.5)
    panel.set(xlim=(0, edges[-1]), ylim=(0, 1), xlabel="time", ylabel="probability")
    panel.set_title(Path(track.path).name, parse_math=False)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 1.5, 2, 3, 6, 10], min_n_ticks=2))
    panel.xaxis.set_major_formatter(FuncFormatter(_clock))
    panel.yaxis.set_major_formatter(PercentFormatter(1))
    handles, labels = panel.get_legend_handles_labels()  # reversed below, so that the legend has the order of the stack
    panel.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    write_png(path, figure)


def _clock(seconds: float, _: object = None) -> str:
    """Format seconds as minutes and seconds: ``1:05``.

    >>> _clock(65.0), _clock(2.5)
    ('1:05', '0:02.5')
    """
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}".removesuffix(".0")
