"""Commands about trained models: classify."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gtzan_stream import console
from gtzan_stream.commands.interrupt import Interrupted, on_interrupt
from gtzan_stream.console import progress_bar
from gtzan_stream.errors import UserError
from gtzan_stream.words import FROM_THE_BEGINNING, count

if TYPE_CHECKING:
    from gtzan_stream.inference.classify import Track


def classify(
    path: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model.pt2 that train.py has written, or the folder of its run.")
    ],
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Audio, or folders of it; m4a and videos need the extra av."),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, with the probabilities over time.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG|DIR",
            help="Plot the probabilities over time to a PNG file, or to a folder of PNG files, with the subfolders of "
            "the folders that are classified.",
        ),
    ] = None,
) -> None:
    """Classify audio files, and folders of them, by label.

    The probabilities are the mean over each file's chunks. Files in folders that are not audio are skipped.
    """
    with on_interrupt(lambda: f"nothing was saved; {FROM_THE_BEGINNING}"), progress_bar(f"loading {path}"):
        from gtzan_stream.inference.classify import classify as classify_file
        from gtzan_stream.inference.export import Model
        from gtzan_stream.inference.files import find_files, picture_names
        from gtzan_stream.inference.timeline import plot_timeline

        found = find_files(paths)
        if plot is not None and plot.suffix.lower() == ".png" and len(found.files) > 1:
            raise UserError(f"--plot {plot} is one picture for {len(found.files)} files: name a folder")
        model = Model.load(path)
    for problem in found.problems:
        console.print_error(f"gtzan-stream: {problem}")
    tracks: list[Track] = []
    done, n_files, failed = 0, len(found.files), bool(found.problems)
    try:
        with progress_bar("classifying") as progress:
            for file, picture in zip(found.files, picture_names(found.names), strict=True):
                try:
                    track = classify_file(model, file, progress=partial(_advance, progress, done, n_files))
                except UserError as error:
                    failed = True
                    console.print_error(f"gtzan-stream: {error}")
                else:
                    tracks.append(track)
                    if track.damage:
                        console.print_error(f"gtzan-stream: {file}: {track.damage}; the rest was classified")
                    if plot is not None:
                        plot_timeline(plot if plot.suffix.lower() == ".png" else plot / picture, track)
                done += 1
                progress(done, n_files)
    except KeyboardInterrupt:
        _print(tracks, as_json=as_json)
        rest = "".join(f", the next is {file}" for file in found.files[done : done + 1])
        raise Interrupted(f"{done} of {count(n_files, 'file')} are done{rest}; {FROM_THE_BEGINNING}") from None
    except UserError:  # a picture cannot be written
        _print(tracks, as_json=as_json)
        raise
    _print(tracks, as_json=as_json)
    if found.n_skipped:
        console.stderr.print(f"{count(found.n_skipped, 'file')} skipped: not audio, or hidden", markup=False)
    if failed:
        raise typer.Exit(2)


def _advance(progress: Callable[[float, float], None], done: int, n_files: int, chunk: int, n_chunks: int) -> None:
    """Show that `chunk` of the chunks of a file are done, after `done` of the files."""
    progress(done + chunk / n_chunks, n_files)


def _print(tracks: list["Track"], *, as_json: bool) -> None:
    if as_json:
        console.print_json([track.to_dict() for track in tracks])
    elif tracks:
        console.print_tracks(tracks)
