"""Command-line arguments and options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gtzan_stream import __version__
from gtzan_stream.feature_settings import help_of


class Codec(StrEnum):
    """Formats in which clips can be stored."""

    wav = "wav"
    flac = "flac"


class OnError(StrEnum):
    """Ways to handle clips that cannot be packed."""

    skip = "skip"
    fail = "fail"


def setting(name: str) -> Any:
    """Return the option for a setting of features, with the same help text as in train.py."""
    return typer.Option(help=help_of(name), show_default=False)


def _print_version(requested: bool) -> bool:
    if requested:
        typer.echo(f"gtzan-stream {__version__}")
        raise typer.Exit
    return requested


Version = Annotated[bool, typer.Option("--version", callback=_print_version, help="Print the version and exit.")]
Shards = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of shards.")]
Address = Annotated[
    str, typer.Argument(metavar="DIR", help="Folder of shards, or its https://, s3:// or hf:// address.")
]
NumWorkers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Number of threads; by default one per usable core.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
SplitFile = Annotated[
    Path | None,
    typer.Option(
        "--splits", metavar="FILE", help="CSV file of key,part or path,part rows. The split is named after the file."
    ),
]
LabelDepth = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Level of the folders that are labels: 1 is directly below SRC. Split folders count too.",
    ),
]
LabelFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="CSV file of path,label or path,label,group rows, instead of folders as labels."),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        metavar="LEVEL|REGEX",
        help="Keep clips of a group in one part of random splits. A group is a level of folders (2 is the artist in "
        "<genre>/<artist>/<album>) or what the parentheses of a regular expression match in the path.",
    ),
]
