"""Print to the terminal: lines and tables on stdout, errors and progress bars on stderr."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from gtzan_stream.words import count, one_line

if TYPE_CHECKING:
    from gtzan_stream.inference.classify import Track
    from gtzan_stream.store.manifest import Manifest

out = Console(highlight=False)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)
OnStage = Callable[[str, float, float | None], None]
"""A function that shows progress: (stage, done, total)."""


def escape_unprintable() -> None:
    """Make stdout print escapes for characters that its encoding lacks, as in pipes on Windows."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def print_json(content: Any) -> None:
    """Print JSON. Escape non-ASCII characters only if stdout's encoding is not UTF-8, -16 or -32."""
    is_utf = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(content, indent=2, ensure_ascii=not is_utf))


def print_line(text: str) -> None:
    """Print a line without markup and without wrapping, so that a path in it can be copied."""
    out.print(text, markup=False, soft_wrap=True)


def print_error(text: str) -> None:
    """Print a line to stderr, in red on a terminal."""
    stderr.print(text, markup=False, style="red")


def show_compilation() -> None:
    """Print a line to stderr, if it is a terminal, when kernels are compiled and that takes more than a second."""
    log = logging.getLogger("gtzan_stream.kernels")
    if stderr.is_terminal and not log.handlers:
        log.addHandler(_Printer())
        log.setLevel(logging.INFO)


class _Printer(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        stderr.print(record.getMessage(), markup=False)


def print_set(manifest: Manifest, *, as_json: bool) -> None:
    """Describe a set of shards in words, or as one JSON document."""
    from gtzan_stream.store.summary import summary

    if as_json:
        print_json(summary(manifest))
    else:
        print_summary(manifest)


def print_summary(manifest: Manifest) -> None:
    """Print the size of a set of shards, the number of files left out, its labels, splits and report."""
    from gtzan_stream.store.summary import summary

    metadata = summary(manifest)
    hours, megabytes, left_out = metadata["hours"], metadata["size"] / 1e6, metadata["left_out"]
    clips, shards = count(len(manifest), "clip"), count(len(manifest.shards), "shard")
    print_line(
        f"{manifest.root}: {manifest.dataset}, {clips}, {hours:.2f} h at {manifest.sample_rate} Hz "
        f"({', '.join(metadata['encodings'])}), {shards}, {megabytes:.1f} MB"
        + (f"; {count(left_out, 'file')} left out, see the report" if left_out else "")
    )
    print_line("labels: " + ", ".join(f"{label} {n}" for label, n in metadata["labels"].items()))
    out.print(_split_table(manifest))
    if (cache := manifest.folder.cache_state()) is not None:  # after all tables were read
        print_line(_cache_line(cache, len(manifest.shards)))
    if not manifest.report:
        print_line("no issues were found")
        return
    print_line("report: " + ", ".join(f"{n} {kind}" for kind, n in metadata["issues"].items()))
    print_report(metadata["report"])
    if more := len(manifest.report) - len(metadata["report"]):
        print_line(f"{count(more, 'more line')}: gtzan-stream info {manifest.root} --issues")


def _cache_line(cache: dict[str, Any], n_shards: int) -> str:
    """Describe the cache of a remote set, and how fast its tables were downloaded if they just were."""
    line = (
        f"cache: {cache['folder']} holds {cache['shards']} of {count(n_shards, 'shard')}, "
        f"{cache['bytes'] / 1e6:.1f} MB of at most {cache['limit_bytes'] / 1e9:g} GB"
    )
    if seconds := cache["download_s"]:
        megabytes = cache["downloaded_bytes"] / 1e6
        line += f"; the tables were downloaded just now, {megabytes:.3g} MB at {megabytes / seconds:.3g} MB/s"
    return line


def _split_table(manifest: Manifest) -> Table:
    from gtzan_stream.catalog.splits import PARTS

    table = Table("split", "labels", title="splits", title_justify="left")
    parts = [part for part in PARTS if any(part in counts for counts in manifest.split_counts.values())]
    for part in parts:
        table.add_column(part, justify="right")
    for name, counts in manifest.split_counts.items():
        by_part = manifest.labels_by_part(name)
        n_labels = len(set().union(*by_part.values()))
        lacking = [f"{part} lacks {n_labels - len(own)}" for part, own in by_part.items() if len(own) < n_labels]
        table.add_row(name, ", ".join([str(n_labels), *lacking]), *(str(counts.get(part, 0)) for part in parts))
    return table


def print_issues(lines: Sequence[dict[str, str]]) -> None:
    """Print each issue of a packing report on a line of its own (kind, file, clip or split, detail), for grep."""
    for line in lines:
        fields = (line[column] for column in ("kind", "source", "key", "detail"))
        print_line(": ".join(one_line(field) for field in fields if field))


def print_report(lines: Sequence[dict[str, str]]) -> None:
    """Print issues of a packing report as a table."""
    table = Table("kind", Column("clip or split", overflow="fold"), Column("file", overflow="fold"), "detail")
    for line in lines:
        table.add_row(*(Text(one_line(line[column])) for column in ("kind", "key", "source", "detail")))
    out.print(table)


def print_tracks(tracks: list[Track]) -> None:
    """Print a line for each track: its most probable label, and the others with at least 0.5 %."""
    table = Table(Column("file", overflow="fold"), "label", Column("probability", justify="right"), "others")
    for track in tracks:
        (label, probability), *others = track.ranking
        others_text = ", ".join(f"{name} {share:.0%}" for name, share in others if share >= 0.005)
        table.add_row(*map(Text, (track.path, label, f"{probability:.0%}", others_text)))
    out.print(table)


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Discard what C libraries write to stderr until the block ends.

    libmpg123 would print notes between the progress bars; the report has the same notes with the name of the file. C
    libraries write to file descriptor 2, so it is redirected to /dev/null, and `sys.stderr` writes to a copy of it.
    """
    original = sys.stderr
    try:
        is_descriptor_2 = original.fileno() == 2
    except (AttributeError, OSError, ValueError):  # The program has replaced sys.stderr.
        is_descriptor_2 = False
    if not is_descriptor_2:
        yield
        return
    original.flush()
    with (
        open(os.dup(2), "w", buffering=1, encoding=original.encoding, errors=original.errors) as copy,
        open(os.devnull, "wb") as null,
    ):
        sys.stderr = copy
        os.dup2(null.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(copy.fileno(), 2)
            sys.stderr = original


@contextmanager
def importing() -> Iterator[None]:
    """Show that a program is alive while it imports its libraries in the block; Ctrl-C ends it with one line."""
    try:
        with progress_bars(quiet=False) if os.environ.get("RANK", "0") == "0" else nullcontext():
            yield
    except KeyboardInterrupt:
        print_error("Interrupted while starting; nothing was saved: run the command again")
        sys.exit(130)


@contextmanager
def progress_bars(stage: str = "starting", *, quiet: bool = True) -> Iterator[OnStage]:
    """Show a progress bar on stderr, if it is a terminal, until the block ends.

    Yields a function (stage, done, total) that updates it; another stage starts the bar again. While the total is None,
    the bar shows only that the program is alive. With `quiet`, messages of C libraries are discarded.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=stderr, transient=True, disable=not stderr.is_terminal)
    bar.add_task(stage, total=None)

    def update(stage: str, done: float, total: float | None) -> None:
        (task,) = bar.tasks
        if stage == task.description:
            bar.update(task.id, completed=done, total=total)
        else:
            bar.remove_task(task.id)  # `reset` would keep a total instead of None
            bar.add_task(stage, completed=done, total=total)  # type: ignore[arg-type]  # rich says int, means float

    with _quiet_libraries() if quiet else nullcontext(), bar:
        yield update


@contextmanager
def progress_bar(stage: str) -> Iterator[Callable[[float, float], None]]:
    """Show a progress bar for one stage; yield a function (done, total) that updates it."""
    with progress_bars(stage) as update:
        yield partial(update, stage)
