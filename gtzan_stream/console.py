"""What the commands show on a terminal: tables, and progress bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from gtzan_stream.inference.classify import Track
    from gtzan_stream.store.manifest import Manifest

out = Console(highlight=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True)
MOST_LINES = 40


def print_line(text: str) -> None:
    """Print a line as it is, however long, so that a path in it can be copied."""
    out.print(text, markup=False, soft_wrap=True)


def print_error(text: str) -> None:
    """Print a line on stderr, in red on a terminal."""
    errors.print(text, markup=False, style="red")


def print_summary(manifest: Manifest) -> None:
    """Print a folder of shards as tables, the packing report last."""
    from gtzan_stream.store.summary import summary

    facts = summary(manifest)
    hours, megabytes = facts["hours"], facts["size"] / 1e6
    head = (
        f"{manifest.root}: {manifest.dataset}, {len(manifest)} clips, {hours:.2f} h at {manifest.sample_rate} Hz "
        f"({', '.join(facts['encodings'])}), {len(manifest.shards)} shards, {megabytes:.1f} MB"
    )
    labels = "labels: " + ", ".join(f"{label} {count}" for label, count in facts["labels"].items())
    print_line(head)
    print_line(labels)
    out.print(_split_table(manifest))
    out.print(_report_table(manifest))


def _split_table(manifest: Manifest) -> Table:
    table = Table("split", "labels", title="splits", title_justify="left")
    parts = list(dict.fromkeys(part for counts in manifest.split_counts.values() for part in counts))
    for part in parts:
        table.add_column(part, justify="right")
    for name, counts in manifest.split_counts.items():
        table.add_row(name, str(len(manifest.labels_of(name))), *(str(counts.get(part, 0)) for part in parts))
    return table


def _report_table(manifest: Manifest) -> Table | Text:
    if not manifest.report:
        return Text("nothing odd was found when packing")
    table = Table("kind", "clip or split", "file", "what", title="report", title_justify="left")
    for line in manifest.report[:MOST_LINES]:
        table.add_row(*(Text(line[column]) for column in ("kind", "key", "source", "detail")))
    if len(manifest.report) > MOST_LINES:
        table.caption = f"{len(manifest.report) - MOST_LINES} more lines are in manifest.json and `info --json`"
    return table


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
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bars:
        yield bars


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
