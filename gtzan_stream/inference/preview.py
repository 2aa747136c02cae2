"""Plot crops before and after augmentation, exactly as a loader yields them."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gtzan_stream.batch import Batch
from gtzan_stream.errors import UserError
from gtzan_stream.inference.first_crops import first_crops
from gtzan_stream.inference.png import write_png
from gtzan_stream.inference.preview_page import picture_features
from gtzan_stream.loader import Loader

COLUMNS = 4


@dataclass(frozen=True)
class Pair:
    """Features of one example before and after augmentation.

    Attributes
    ----------
    key : str
    crop : int
    start : int
        Sample of the clip where the crop starts.
    description : str
        The augmentation and its parameters, in words.
    unaugmented, augmented : float32 [mel, frame]
    """

    key: str
    crop: int
    start: int
    description: str
    unaugmented: np.ndarray
    augmented: np.ndarray


def plot_preview(path: Path, loader: Loader, *, epoch: int = 0, count: int = 8) -> None:
    """Plot the first `count` crops of an epoch before and after augmentation, and write a PNG.

    Parameters
    ----------
    path : Path
        File to write; its folder is created.
    loader : Loader
        Its features are shown if they are `LogMel`; else those of `LogMel`, as on the page.
    epoch, count : int

    Raises
    ------
    UserError
        If all crops are mostly padding.
    """
    geometry = picture_features(loader).geometry
    pairs = pairs_of(loader, first_crops(loader, epoch, count))
    plot_pairs(path, pairs, frame_s=geometry.step / geometry.sample_rate)


def pairs_of(loader: Loader, batch: Batch) -> list[Pair]:
    """Return the examples of a batch, each with the features of the same crop without augmentation.

    Parameters
    ----------
    loader : Loader
        The batch's loader.
    batch : Batch
        Examples of weight 0 are left out.

    Raises
    ------
    UserError
        If all have weight 0.
    """
    shown = np.flatnonzero(batch.weights.cpu().numpy()).tolist()
    if not shown:
        raise UserError(
            f"there is nothing to show: all of the first {len(batch.keys)} crops are mostly padding; "
            "show more with --count, or shorter ones with --frames"
        )
    features, draw = picture_features(loader), batch.draw
    if features is loader.features:
        images = [loader.unaugmented(batch), batch.features]
    else:
        images = [features(loader.waveforms(batch, augmented=augmented)) for augmented in (False, True)]
    unaugmented, augmented = (image.cpu().numpy() for image in images)
    return [
        Pair(
            key=batch.keys[row],
            crop=int(batch.crops[row]),
            start=int(batch.starts[row]),
            description=draw.describe(row),
            unaugmented=unaugmented[row],
            augmented=augmented[row],
        )
        for row in shown
    ]


def plot_pairs(path: Path, shown: Sequence[Pair], *, frame_s: float) -> None:
    """Plot each pair, original above augmented, all on the same colour scale, and write a PNG.

    Parameters
    ----------
    path : Path
        File to write; its folder is created.
    shown : sequence of Pair
        At least one.
    frame_s : float
        Seconds from one frame to the next.
    """
    n_columns = min(COLUMNS, len(shown))
    n_rows = -(-len(shown) // n_columns)
    figure = Figure(figsize=(1 + 3.2 * n_columns, 0.3 + 5.2 * n_rows), layout="constrained")
    panels = figure.subplots(2 * n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    top = float(np.percentile([[pair.unaugmented, pair.augmented] for pair in shown], 99.8))
    for panel in panels.flat:
        panel.set_visible(False)
    for number, pair in enumerate(shown):
        row, column = divmod(number, n_columns)
        name = f"{pair.key}, crop {pair.crop}"
        duration_s = frame_s * pair.augmented.shape[1]
        _show(panels[2 * row, column], pair.unaugmented, f"{name}\noriginal", duration_s, top)
        _show(panels[2 * row + 1, column], pair.augmented, f"{name}\n{pair.description}", duration_s, top)
    for panel in panels[:, 0]:
        panel.set_ylabel("mel band")
    write_png(path, figure)


def _show(panel: Axes, image: np.ndarray, title: str, duration_s: float, top: float) -> None:
    panel.set_visible(True)
    extent = (0.0, duration_s, 0.0, float(len(image)))
    panel.imshow(image, origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=top, extent=extent)
    lines = [part for line in title.splitlines() for part in textwrap.wrap(line, 44)]
    panel.set_title("\n".join(lines), fontsize=8, loc="left", parse_math=False)
    panel.set_xlabel("seconds", fontsize=8)
    panel.tick_params(labelsize=8, labelbottom=True)
