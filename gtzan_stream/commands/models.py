"""Commands about trained models: classify."""

from pathlib import Path
from typing import Annotated

import typer

from gtzan_stream import console
from gtzan_stream.console import print_tracks, progress_bar
from gtzan_stream.errors import UserError


def classify(
    path: Annotated[Path, typer.Argument(metavar="MODEL", help="A model.pt2 that train.py has written.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Audio; m4a and videos need the extra av.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the probabilities over time.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Plot the probabilities over time to a PNG file, or to a folder of PNG files.")
    ] = None,
) -> None:
    """Classify audio files: the probability of each label, as the mean over a file's chunks."""
    from gtzan_stream.inference.classify import classify as classify_file
    from gtzan_stream.inference.export import Model

    if plot is not None and plot.suffix.lower() == ".png" and len(files) > 1:
        raise UserError(f"--plot {plot} is one picture for {len(files)} files: name a folder")
    model = Model.load(path)
    tracks, failed = [], False
    with progress_bar("classifying") as progress:
        for done, file in enumerate(files):
            progress(done, len(files))
            try:
                track = classify_file(model, file)
                tracks.append(track)
                if track.damage:
                    console.print_error(f"gtzan-stream: {file}: {track.damage}; the rest was classified")
            except UserError as error:
                failed = True
                console.print_error(f"gtzan-stream: {error}")
    if as_json:
        console.print_json([track.to_dict() for track in tracks])
    elif tracks:
        print_tracks(tracks)
    if plot is not None:
        from gtzan_stream.inference.timeline import plot_timelines

        plot_timelines(plot, tracks)
    if failed:
        raise typer.Exit(2)
