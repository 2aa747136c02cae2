"""Write a matplotlib figure as a PNG."""

import io
import warnings
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gtzan_stream.atomic import write_bytes


def write_png(path: Path, figure: Figure) -> None:
    """Write a figure, creating the folder of `path`. Characters that the font lacks, such as emoji, become boxes."""
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasAgg(figure).print_png(data)
    write_bytes(path, data.getvalue())
