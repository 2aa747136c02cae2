"""Commands about the examples of an epoch: preview."""

from pathlib import Path
from typing import Annotated

import typer

from gtzan_stream import console
from gtzan_stream.commands.options import Address, setting


def preview(
    folder: Address,
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("preview.png"),
    augment: Annotated[
        str,
        typer.Option(help="Augmentation recipe, or module:function for your own; an unknown name lists all recipes."),
    ] = "study",
    split: Annotated[str | None, typer.Option(help="Split of the data set; all clips by default.")] = None,
    part: Annotated[str | None, typer.Option(help="Part of the split; train by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the training run.")] = 0,
    epoch: Annotated[int, typer.Option(min=0, help="Epoch of the training run, counted from 0.")] = 0,
    count: Annotated[int, typer.Option(min=1, max=64, help="Number of crops to show.")] = 8,
    frames: Annotated[int | None, setting("frames")] = None,
    sample_rate: Annotated[int | None, setting("sample_rate")] = None,
    n_fft: Annotated[int | None, setting("n_fft")] = None,
    hop_length: Annotated[int | None, setting("hop_length")] = None,
    n_mels: Annotated[int | None, setting("n_mels")] = None,
    f_min: Annotated[float | None, setting("f_min")] = None,
    f_max: Annotated[float | None, setting("f_max")] = None,
) -> None:
    """Plot the first crops of a training epoch: log-mel spectrograms without and with augmentation."""
    from gtzan_stream.inference.preview import plot_preview

    sizes = {"frames": frames, "sample_rate": sample_rate, "n_fft": n_fft, "hop_length": hop_length}
    settings = {**sizes, "n_mels": n_mels, "f_min": f_min, "f_max": f_max}
    plot_preview(
        out, folder, augment=augment, split=split, part=part, seed=seed, epoch=epoch, count=count, settings=settings
    )
    console.print_line(f"{out}: the first {count} crops of epoch {epoch}, augmentation {augment}, seed {seed}")
