"""Arguments and options that commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gtzan_stream import __version__
from gtzan_stream.settings import help_of


class Codec(StrEnum):
    """How clips are stored."""

    wav = "wav"
    flac = "flac"


class OnError(StrEnum):
    """What to do with clips that cannot be packed."""

    skip = "skip"
    fail = "fail"


def setting(name: str) -> Any:
    """The option for a setting of features, with the words that train.py has for it."""
    return typer.Option(help=help_of(name), show_default=False)


def _print_version(asked: bool) -> bool:
    if asked:
        typer.echo(f"gtzan-stream {__version__}")
        raise typer.Exit
    return asked


Version = Annotated[bool, typer.Option("--version", callback=_print_version, help="Print the version and exit.")]
Shards = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of shards.")]
Address = Annotated[
    str, typer.Argument(metavar="DIR", help="Folder of shards, or its https://, s3:// or hf:// address.")
]
NumWorkers = Annotated[int | None, typer.Option(min=1, help="Threads; the usable cores by default.")]
SplitFile = Annotated[
    Path | None, typer.Option("--splits", help="CSV of key,part (or path,part) rows: a split named by its stem.")
]
LabelDepth = Annotated[
    int | None,
    typer.Option(min=1, help="Level of the folders that are labels: 1 is the first below SRC, and every level counts."),
]
LabelFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="CSV of path,label or path,label,group rows, in place of folders.")
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        metavar="LEVEL|REGEX",
        help="Clips that random splits keep together: a level of folders (2 is the artist in <genre>/<artist>/<album>),"
        " or a regular expression whose parentheses find the group in the path.",
    ),
]
