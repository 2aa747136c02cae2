"""Commands about runs of train.py: compare."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from gtzan_stream import console
from gtzan_stream.errors import UserError, format_error
from gtzan_stream.feature_settings import option_name


def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, such as runs/*.")],
    plot: Annotated[
        Path | None, typer.Option(help="PNG file for the validation curves and the test accuracies.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare runs of train.py as a table, and as a plot.

    It lists the settings that differ, accuracies and speed. A folder that is no run is left out.
    """
    from gtzan_stream.inference.png import write_png
    from gtzan_stream.training import comparison

    runs = []
    for folder in folders:
        try:
            runs.append(comparison.read_run(folder))
        except (UserError, OSError) as error:
            console.print_error(f"gtzan-stream: {format_error(error)}")
    if not runs:
        raise UserError("there is nothing to compare: give folders that train.py has written, such as runs/*")
    rows = comparison.compare(runs)
    if as_json:
        console.print_json(rows)
    else:
        console.out.print(table(rows))
        if len({row["data"] for row in rows}) > 1:
            console.print_line(
                "Runs with different letters under `data` were tested on other clips or another split: their "
                "accuracies cannot be compared."
            )
    if plot is not None:
        write_png(plot, comparison.plot(runs, rows))


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Lay out the rows of a comparison, in cells of several lines, so that it fits a terminal of 80 columns."""
    several = len({row["data"] for row in rows}) > 1
    found = Table(box=box.SIMPLE_HEAD, show_lines=False, padding=(0, 1, 1, 0), pad_edge=False)
    found.add_column("run", overflow="fold")
    found.add_column("settings", overflow="fold")
    if several:
        found.add_column("data")
    for heading in ("epochs", "valid", "test, 95 % interval", "crops/s, waiting"):
        found.add_column(heading, justify="right", no_wrap=heading in ("epochs", "valid"))
    for row in rows:
        settings = (f"{option_name(name)} {value}" for name, value in row["settings"].items())
        interval, speed = row["test_track_interval"], row["crops_per_second"]
        cells = [
            row["run"],
            "\n".join([f"{row['model']}, {row['augmentation']}", *settings]),
            *([row["data"]] if several else []),
            str(row["epochs"]) + ("" if row["finished"] else "\nunfinished"),
            _percent(row["valid_track_accuracy"]),
            f"{_percent(row['test_track_accuracy'])}\n{interval[0]:.1%} to {interval[1]:.1%}" if interval else "",
            "" if speed is None else f"{speed:.0f}\n{_percent(row['data_wait_share'])}",
        ]
        found.add_row(*map(Text, cells))
    return found


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
