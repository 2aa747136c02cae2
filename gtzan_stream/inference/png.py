"""Write a figure as a PNG."""

import warnings
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def write_png(path: Path, figure: Figure) -> None:
    """Write a figure; the folder of `path` is made. Letters that the font lacks, as in names with emoji, are boxes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasAgg(figure).print_png(path)
