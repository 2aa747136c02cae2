"""What the commands show on a terminal: tables, and progress bars on stderr."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from gtzan_stream.words import count, one_line

if TYPE_CHECKING:
    from gtzan_stream.inference.classify import Track
    from gtzan_stream.store.manifest import Manifest

out = Console(highlight=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def escape_unprintable() -> None:
    """From now on, print what the encoding of stdout lacks as escapes: on Windows, a pipe has only 256 characters."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def print_json(content: Any) -> None:
    """Print JSON, with letters of all languages as they are where stdout has them."""
    has_all = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(content, indent=2, ensure_ascii=not has_all))


def print_line(text: str) -> None:
    """Print a line as it is, however long, so that a path in it can be copied."""
    out.print(text, markup=False, soft_wrap=True)


def print_error(text: str) -> None:
    """Print a line on stderr, in red on a terminal."""
    errors.print(text, markup=False, style="red")


def print_summary(manifest: Manifest) -> None:
    """Print a folder of shards as tables: what was left out in the first line, the packing report last."""
    from gtzan_stream.store.summary import summary

    metadata = summary(manifest)
    hours, megabytes, left_out = metadata["hours"], metadata["size"] / 1e6, metadata["left_out"]
    clips, shards = count(len(manifest), "clip"), count(len(manifest.shards), "shard")
    print_line(
        f"{manifest.root}: {manifest.dataset}, {clips}, {hours:.2f} h at {manifest.sample_rate} Hz "
        f"({', '.join(metadata['encodings'])}), {shards}, {megabytes:.1f} MB"
        + (f"; {count(left_out, 'file')} left out, see the report" if left_out else "")
    )
    print_line("labels: " + ", ".join(f"{label} {count}" for label, count in metadata["labels"].items()))
    out.print(_split_table(manifest))
    if not manifest.report:
        print_line("nothing odd was found")
        return
    print_line("report: " + ", ".join(f"{count} {kind}" for kind, count in metadata["issues"].items()))
    print_report(metadata["report"])
    if more := len(manifest.report) - len(metadata["report"]):
        print_line(f"{count(more, 'more line')}: gtzan-stream info {manifest.root} --issues")


def _split_table(manifest: Manifest) -> Table:
    from gtzan_stream.catalog.splits import PARTS

    table = Table("split", "labels", title="splits", title_justify="left")
    parts = [part for part in PARTS if any(part in counts for counts in manifest.split_counts.values())]
    for part in parts:
        table.add_column(part, justify="right")
    for name, counts in manifest.split_counts.items():
        by_part = manifest.labels_by_part(name)
        n_labels = len(set().union(*by_part.values()))
        words = [f"{part} lacks {n_labels - len(own)}" for part, own in by_part.items() if len(own) < n_labels]
        table.add_row(name, ", ".join([str(n_labels), *words]), *(str(counts.get(part, 0)) for part in parts))
    return table


def print_issues(lines: Sequence[dict[str, str]]) -> None:
    """Print lines of a packing report one to a line: kind, file, clip or split, and what, for people and for grep."""
    for line in lines:
        words = (line[column] for column in ("kind", "source", "key", "detail"))
        print_line(": ".join(one_line(word) for word in words if word))


def print_report(lines: Sequence[dict[str, str]]) -> None:
    """Print lines of a packing report as a table."""
    table = Table("kind", Column("clip or split", overflow="fold"), Column("file", overflow="fold"), "what")
    for line in lines:
        table.add_row(*(Text(one_line(line[column])) for column in ("kind", "key", "source", "detail")))
    out.print(table)


def print_tracks(tracks: list[Track]) -> None:
    """Print a line for each track: its genre, and the others that are at all probable."""
    table = Table(Column("file", overflow="fold"), "genre", Column("probability", justify="right"), "others")
    for track in tracks:
        (genre, probability), *others = track.ranking
        rest = ", ".join(f"{name} {share:.0%}" for name, share in others if share >= 0.005)
        table.add_row(*map(Text, (track.path, genre, f"{probability:.0%}", rest)))
    out.print(table)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A progress bar on stderr that goes away when done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with (
        _quiet_libraries(),
        Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bars,
    ):
        yield bars


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Drop what C libraries write to stderr: libmpg123 notes, in the middle of the bars, what our report says better.

    They write to file descriptor 2, and Python's own stderr goes on through a copy of it.
    """
    python = sys.stderr
    try:
        is_descriptor_2 = python.fileno() == 2
    except (AttributeError, OSError, ValueError):  # of a program that has put something else there
        is_descriptor_2 = False
    if not is_descriptor_2:
        yield
        return
    python.flush()
    with (
        open(os.dup(2), "w", buffering=1, encoding=python.encoding, errors=python.errors) as copy,
        open(os.devnull, "wb") as nothing,
    ):
        sys.stderr = copy
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(copy.fileno(), 2)
            sys.stderr = python


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar; yields a callable (done, total) that moves it."""
    with _progress() as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def stages() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show a bar for each stage; yields a callable (stage, bytes done, bytes in all) that moves them."""
    tasks: dict[str, TaskID] = {}
    with _progress() as bars:

        def update(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield update
