"""Plot the probabilities of the labels over time."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from gtzan_stream.inference.classify import Track
from gtzan_stream.inference.png import write_png

NAMED = 6  # number of labels with a colour and a legend entry; the others are grey


def plot_timeline(path: Path, track: Track) -> None:
    """Plot the probability of each label over time, stacked, and write a PNG.

    Parameters
    ----------
    path : Path
        File to write; its folder is created.
    track : Track
    """
    order = np.argsort(-track.probabilities, kind="stable")
    edges = np.minimum(np.append(track.starts_s, track.starts_s[-1] + track.chunk_s), track.duration_s)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    panel = figure.subplots()
    heights = track.chunk_probabilities[:, order].cumsum(axis=1)  # [chunk, rank]
    # From the highest layer down, each from 0 and over the one before, so that no gap shows between layers or chunks.
    if len(order) > NAMED:
        share = track.probabilities[order[NAMED:]].sum()
        label = f"{len(order) - NAMED} others {share:.0%}"
        panel.stairs(heights[:, -1], edges, fill=True, label=label, color="0.85")
    for rank in reversed(range(min(NAMED, len(order)))):
        label = f"{track.labels[order[rank]]} {track.probabilities[order[rank]]:.0%}"
        panel.stairs(heights[:, rank], edges, fill=True, label=label, color=colormaps["tab10"](rank))
    panel.set(xlim=(0, edges[-1]), ylim=(0, 1), xlabel="time", ylabel="probability")
    panel.set_title(Path(track.path).name, parse_math=False)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 1.5, 2, 3, 6, 10], min_n_ticks=2))
    panel.xaxis.set_major_formatter(FuncFormatter(_clock))
    panel.yaxis.set_major_formatter(PercentFormatter(1))
    for text in panel.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False).get_texts():
        text.set_parse_math(False)
    write_png(path, figure)


def _clock(seconds: float, _: object = None) -> str:
    """Format seconds as minutes and seconds: ``1:05``.

    >>> _clock(65.0), _clock(2.5)
    ('1:05', '0:02.5')
    """
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}".removesuffix(".0")
