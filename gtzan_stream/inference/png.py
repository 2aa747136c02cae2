"""Write a figure as a PNG."""

import warnings
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gtzan_stream.atomic import atomic_write


def write_png(path: Path, figure: Figure) -> None:
    """Write a figure; the folder of `path` is made. Letters that the font lacks, as in names with emoji, are boxes."""
    with warnings.catch_warnings(), atomic_write(path) as file:
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasAgg(figure).print_png(file)
