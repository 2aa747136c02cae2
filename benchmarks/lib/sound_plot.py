"""Plot the results of benchmarks/sound.py: sound against cost."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.lib.sound_table import ANY, FAR, STRETCH, STRETCHED, Rows, find

PANELS: list[tuple[str, str, Callable[[float], float]]] = [
    ("log_mel", "log-mel distance to the ideal, dB", lambda figure: figure),
    ("contrast", "onset contrast lost or added, %", lambda figure: 100 * abs(figure - 1)),
    ("purity", "energy beside close partials, %", lambda figure: 100 - figure),
]
"""Measures to plot: the name, the words, and the figure's distance from the best, 0."""


def plot(rows: Rows, path: Path) -> None:
    """Plot three measures of each time stretch at rates 0.8 and 1.25 against its cost, to a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    by_name = {measure.name: measure for measure in STRETCHED}
    timed = [row for row in rows if "ms_per_clip" in row and row["operation"] == STRETCH]
    measured = [row for row in rows if "figures" in row]
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    for panel, (name, words, shown) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for number, row in enumerate(timed):
            found = find(measured, STRETCH, row["method"], by_name[name], FAR)
            if found is not None:
                style = {"marker": "os^Dv*"[number % 6], "color": f"C{number}", "label": row["method"]}
                panel.plot(row["ms_per_clip"]["median"], shown(found), ms=9, linestyle="", **style)
        target = max(shown(limit) for limit in by_name[name].targets[1] if abs(limit) < ANY)
        panel.axhline(target, color="0.5", linestyle="--", linewidth=1, label="target")
        panel.set(xscale="log", xlabel="ms for a clip of 30 s on one core", title=words)
        panel.set_ylim(0, 1.08 * panel.get_ylim()[1])
        panel.set_xlim(0.6 * panel.get_xlim()[0], 1.6 * panel.get_xlim()[1])
        panel.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.grid(alpha=0.3)
    figure.suptitle("Time stretch at rates 0.8 and 1.25: distance from the ideal against cost (lower left is better)")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    FigureCanvasAgg(figure).print_png(path)
