"""Show a run in TensorBoard, with the option --tensorboard."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gtzan_stream.batch import Batch
from gtzan_stream.errors import UserError
from gtzan_stream.inference.png import pixels
from gtzan_stream.loader import Loader
from gtzan_stream.pages import Scale
from gtzan_stream.pages.pictures import COLOURS
from gtzan_stream.training import plots

FOLDER = "tensorboard"
"""Folder of TensorBoard's files in the folder of a run."""
SHOWN = 4
"""Examples of an epoch that are shown."""
TAGS = {"loss": "step/loss", "accuracy": "step/accuracy", "lr": "step/learning rate"}
TAGS |= {"crops_per_second": "step/crops per second", "data_wait_share": "step/share of waiting for data"}


def check_installed() -> None:
    """Raise UserError if TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise UserError(
            "--tensorboard needs the package tensorboard, which is not installed: pip install "
            "'gtzan-stream[tensorboard]', or leave the option out"
        )


class Board:
    """Writes TensorBoard's files. The unit of every axis is the step.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    steps : int
        Steps done so far. What an earlier process wrote about later steps is not shown.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / FOLDER), purge_step=steps + 1)  # type: ignore[no-untyped-call]
        self._scale: Scale | None = None

    def __enter__(self) -> "Board":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def add_settings(self, settings: Mapping[str, Any], step: int) -> None:
        """Show the settings of the run as a table."""
        rows = (f"| {name} | {value} |" for name, value in settings.items())
        self._writer.add_text("settings", "\n".join(["| setting | value |", "|---|---|", *rows]), step)

    def add_step(self, row: Mapping[str, Any]) -> None:
        """Show a row of steps.jsonl."""
        for name, tag in TAGS.items():
            if row[name] is not None:
                self._writer.add_scalar(tag, row[name], row["step"])

    def add_epoch(self, row: Mapping[str, Any]) -> None:
        """Show a row of metrics.jsonl."""
        for name, value in row.items():
            if name not in ("epoch", "step"):
                self._writer.add_scalar(f"epoch/{name.replace('_', ' ')}", value, row["step"])

    @torch.no_grad()
    def add_batch(self, batch: Batch, loader: Loader | None, frontend: Callable[[Tensor], Tensor], step: int) -> None:
        """Show the first examples of a batch, as augmented: their sound, and their features as a picture.

        Parameters
        ----------
        batch : Batch
        loader : Loader, optional
            Which made the batch. Without, no sound is shown.
        frontend : callable
            Maps the features of the batch to those of the network. With one row, they are not drawn.
        step : int
        """
        shown = [row for row, weight in enumerate(batch.weights.tolist()) if weight][:SHOWN]
        if not shown:
            return
        images = frontend(batch.features[shown]).float().cpu().numpy()
        names = [f"{batch.keys[row]}, crop {batch.crops[row]}" for row in shown]
        if loader is not None:
            sample_rate = loader.features.geometry.sample_rate
            for number, waveform in enumerate(loader.waveforms(batch)[shown].cpu().numpy(), 1):
                self._writer.add_audio(f"augmented/sound {number}", waveform[None], step, sample_rate)
        if images.shape[1] > 1:
            self._scale = self._scale or Scale.of(list(images))  # one for all epochs, so that they can be compared
            figure = draw_examples(names, images, self._scale)
            self._writer.add_image("augmented/features", pixels(figure), step, dataformats="HWC")

    def add_test(self, test: Mapping[str, Any], step: int) -> None:
        """Show the results of a test."""
        for name in ("loss", "chunk_accuracy", "track_accuracy"):
            self._writer.add_scalar(f"test/{name.replace('_', ' ')}", test[name], step)
        figure = plots.confusion_matrix(test["confusion"], list(test["labels"]))
        self._writer.add_image("test/confusion matrix", pixels(figure), step, dataformats="HWC")

    def flush(self) -> None:
        """Write what was added to the disk."""
        self._writer.flush()


def draw_examples(names: Sequence[str], images: np.ndarray, scale: Scale) -> Figure:
    """Draw features [batch, row, frame] beside each other, row 0 at the bottom, in the colours of one scale."""
    figure = Figure(figsize=(3.2 * len(images), 3.2), layout="constrained")
    for panel, name, image in zip(figure.subplots(1, len(images), squeeze=False)[0], names, images, strict=True):
        panel.imshow(scale.colour(image), cmap=COLOURS, vmin=0, vmax=255, origin="lower", aspect="auto")
        panel.set_title(name, parse_math=False, fontsize=9)
        panel.set_axis_off()
    return figure
