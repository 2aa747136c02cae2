"""A picture of what training is fed: crops as they lie in their clips, and as the loader augments them."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gtzan_stream import audio, crops
from gtzan_stream.augment.draw import Draw
from gtzan_stream.batches import Batch
from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader
from gtzan_stream.plan import Rows
from gtzan_stream.store.read import ClipReader

COLUMNS = 4


@dataclass(frozen=True)
class Pair:
    """One sample twice.

    Attributes
    ----------
    key : str
    crop : int
    start : int
        Sample of the clip that the crop begins at.
    description : str
        What was drawn for it, in words.
    untouched, augmented : float32 [mel, frame]
    """

    key: str
    crop: int
    start: int
    description: str
    untouched: np.ndarray
    augmented: np.ndarray


def pairs(loader: Loader) -> list[Pair]:
    """The samples of the next batch of `loader`, each with the same place of its clip untouched.

    Parameters
    ----------
    loader : Loader
        Of log-mels, for training; at the beginning of an epoch. Samples of weight 0 are left out.

    Raises
    ------
    UserError
        If none is left.
    """
    seed, epoch, manifest = loader.seed, loader.epoch, loader.manifest
    batch = next(iter(loader))
    clips = pc.index_in(pa.array(batch.keys), value_set=manifest.keys).to_numpy().astype(np.int64)
    draw = loader.transform.draw(manifest.key_hash[clips], seed=seed, epoch=epoch, crops=batch.crops)
    starts = _starts(loader, batch, clips, draw, epoch)
    shown = np.flatnonzero(batch.weights.cpu().numpy()).tolist()
    if not shown:
        raise UserError("there is nothing to show: no crop lies at least half inside its clip")
    reader = ClipReader(manifest)
    found = [
        Pair(
            key=batch.keys[row],
            crop=int(batch.crops[row]),
            start=int(starts[row]),
            description=draw.describe(row),
            untouched=_untouched(loader, reader, int(clips[row]), int(starts[row])),
            augmented=batch.features[row].cpu().numpy(),
        )
        for row in shown
    ]
    reader.close()
    return found


def picture(path: Path, shown: Sequence[Pair], *, frame_s: float) -> None:
    """Draw pairs one above the other, untouched above augmented, all in the same colours; write a PNG.

    Parameters
    ----------
    path : Path
        File to write; its folder is made.
    shown : sequence of Pair
        At least one.
    frame_s : float
        Seconds from frame to frame.
    """
    n_columns = min(COLUMNS, len(shown))
    n_rows = -(-len(shown) // n_columns)
    figure = Figure(figsize=(1 + 3.2 * n_columns, 0.3 + 5.2 * n_rows), layout="constrained")
    panels = figure.subplots(2 * n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    top = float(np.percentile([[pair.untouched, pair.augmented] for pair in shown], 99.8))
    for panel in panels.flat:
        panel.set_visible(False)
    for number, pair in enumerate(shown):
        row, column = divmod(number, n_columns)
        place = f"{pair.key}, crop {pair.crop}"
        duration_s = frame_s * pair.augmented.shape[1]
        _show(panels[2 * row, column], pair.untouched, f"{place}\nuntouched", duration_s, top)
        _show(panels[2 * row + 1, column], pair.augmented, f"{place}\n{pair.description}", duration_s, top)
    for panel in panels[:, 0]:
        panel.set_ylabel("mel band")
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path)


def _show(panel: Axes, image: np.ndarray, title: str, duration_s: float, top: float) -> None:
    panel.set_visible(True)
    extent = (0.0, duration_s, 0.0, float(len(image)))
    panel.imshow(image, origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=top, extent=extent)
    lines = [part for line in title.splitlines() for part in textwrap.wrap(line, 44)]
    panel.set_title("\n".join(lines), fontsize=8, loc="left", parse_math=False)
    panel.set_xlabel("seconds", fontsize=8)
    panel.tick_params(labelsize=8, labelbottom=True)


def _starts(loader: Loader, batch: Batch, clips: np.ndarray, draw: Draw, epoch: int) -> np.ndarray:
    """Sample of its clip that each crop begins at."""
    features, transform = loader.features, loader.transform
    windows = crops.random_windows(
        Rows(clips, batch.crops, batch.weights.cpu().numpy()),
        loader.manifest.frames[clips],
        features,
        transform,
        draw,
        seed=loader.seed,
        epoch=epoch,
        key_hash=loader.manifest.key_hash[clips],
    )
    context = np.round(features.context * transform.speed(draw)).astype(np.int64)
    return windows.start + transform.source(features.window, draw).before + context


def _untouched(loader: Loader, reader: ClipReader, clip: int, start: int) -> np.ndarray:
    """Features of the clip from `start` on, zero where it has ended."""
    features = loader.features
    samples = np.empty(features.window, reader.dtype)
    reader.read(clip, start - features.context, samples)
    scale = audio.FULL_SCALE if reader.dtype == np.int16 else 1
    waveform = torch.from_numpy(samples.astype(np.float32) / np.float32(scale))
    image = features(waveform[None].to(loader.device))[0].cpu().numpy()  # [mel, frame]
    valid = crops.frames_in(loader.manifest.frames[[clip]] - start, features)[0]
    image[:, valid:] = 0
    return image
