"""Progress of a training run on the terminal: a bar for the current epoch or stage, a line for each finished epoch."""

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

HEADINGS = {
    "epoch": "epoch",
    "train_loss": "loss",
    "train_accuracy": "accuracy",
    "valid_loss": "valid loss",
    "valid_chunk_accuracy": "per chunk",
    "valid_track_accuracy": "per track",
    "lr": "lr",
    "crops_per_second": "crops/s",
    "data_wait_share": "waiting",
}
_FORMATS = {"epoch": "d", "lr": ".1e", "crops_per_second": ".0f", "train_loss": ".4f", "valid_loss": ".4f"}


class _Steps(MofNCompleteColumn):
    """Steps done and in total; nothing in a stage without steps."""

    def render(self, task: Task) -> Text:
        return Text() if task.total is None else super().render(task)


class Display:
    """Shows the progress of a run on a console.

    Parameters
    ----------
    console : Console
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            _Steps(),
            TextColumn("{task.fields[measures]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=console.quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task("", measures="")

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, what: str, steps: int | None = None, done: int = 0) -> None:
        """Restart the bar for `steps` steps, of which `done` are done, or for a stage without steps."""
        self._bar.remove_task(self._task)  # `reset` would keep a total instead of None
        self._task = self._bar.add_task(what, total=steps, completed=done, measures="")

    def advance(self) -> None:
        """Move the bar by one step."""
        self._bar.advance(self._task)

    def show(self, done: float, steps: float) -> None:
        """Move the bar to `done` of `steps` steps."""
        self._bar.update(self._task, completed=done, total=steps)

    def show_measures(self, measures: dict[str, float]) -> None:
        """Show the current epoch's loss, accuracy, speed and share of waiting beside the bar."""
        text = "loss {train_loss:.3f}, accuracy {train_accuracy:.0%}, {crops_per_second:.0f} crops/s"
        self._bar.update(self._task, measures=(text + ", waiting {data_wait_share:.0%}").format(**measures))

    def print_headings(self) -> None:
        """Print the column headings."""
        self._line(HEADINGS)

    def print_row(self, row: dict[str, Any]) -> None:
        """Print the line of a finished epoch."""
        self._line({name: format(row[name], _FORMATS.get(name, ".1%")) for name in HEADINGS})

    def _line(self, cells: dict[str, str]) -> None:
        text = " ".join(cell.rjust(max(len(HEADINGS[name]), 7)) for name, cell in cells.items())
        self._console.print(Text(text), soft_wrap=True)
