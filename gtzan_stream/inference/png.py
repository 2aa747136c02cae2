"""Write a figure as a PNG."""

import io
import warnings
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gtzan_stream.atomic import write_bytes


def write_png(path: Path, figure: Figure) -> None:
    """Write a figure; the folder of `path` is made. Letters that the font lacks, as in names with emoji, are boxes."""
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasAgg(figure).print_png(data)
    write_bytes(path, data.getvalue())
