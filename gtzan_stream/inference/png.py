"""Draw a matplotlib figure as a PNG or as pixels."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gtzan_stream.atomic import write_bytes


def write_png(path: Path, figure: Figure) -> None:
    """Write a figure, creating the folder of `path`. Characters that the font lacks, such as emoji, become boxes."""
    data = io.BytesIO()
    with _any_characters():
        FigureCanvasAgg(figure).print_png(data)
    write_bytes(path, data.getvalue())


def pixels(figure: Figure) -> np.ndarray:
    """Draw a figure: uint8 [row, column, 3]."""
    canvas = FigureCanvasAgg(figure)
    with _any_characters():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


@contextmanager
def _any_characters() -> Iterator[None]:
    """Hide warnings about characters that the font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
