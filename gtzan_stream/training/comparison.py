"""Compare runs: read their folders, and find what differs between them."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from gtzan_stream.errors import UserError
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.training.config import Config
from gtzan_stream.training.progress import best_of, means_of
from gtzan_stream.training.stored import read_config

SHOWN_APART = {"name", "out", "shards", "split", "fold", "model", "augment"}
SHOWN_APART |= {"served", "served_keys", "served_strict"}
"""Settings that are not listed as differences: names of places, and those with a column."""
COLUMNS = ["step", "epoch", "train_seconds", "valid_loss", "valid_chunk_accuracy", "valid_track_accuracy"]
COLUMNS += ["crops_per_second", "data_wait_share"]
"""Columns of metrics.jsonl that are read."""


@dataclass(frozen=True)
class Finished:
    """The results of a finished run.

    Attributes
    ----------
    test : dict
        Summary of the test.
    digest : str
        Digest of the clips.
    """

    test: dict[str, Any]
    digest: str


@dataclass(frozen=True)
class ReadRun:
    """A run, read from its folder.

    Attributes
    ----------
    folder : Path
    config : Config
    history : list of dict
        The rows of metrics.jsonl.
    finished : Finished, optional
    """

    folder: Path
    config: Config
    history: list[dict[str, Any]]
    finished: Finished | None

    @property
    def data(self) -> tuple[str, str]:
        """The split and the digest of the clips; the run's folder if it has not finished and has no shards here."""
        return str(self.config.split), self.finished.digest if self.finished else self._digest_of_shards()

    def _digest_of_shards(self) -> str:
        try:
            if self.config.shards is not None:
                return Manifest.open(self.config.shards, check_sizes=False).digest
        except (UserError, OSError):  # they are gone
            pass
        return str(self.folder)


def read_run(folder: Path) -> ReadRun:
    """Read a run. One that has no report for its last step counts as unfinished.

    Raises
    ------
    UserError
        If it is not the folder of a run, or one of its files is damaged.
    """
    config = read_config(folder)
    if config.split is None:
        raise UserError(f"{folder}/config.json does not hold all settings of a run: leave it out")
    history = [_parsed(folder / "metrics.jsonl", line) for line in _text(folder / "metrics.jsonl").splitlines()]
    text = _text(folder / "report.json")
    report = _parsed(folder / "report.json", text) if text else None
    try:
        for row in history:
            _check_numbers(row[name] for name in COLUMNS)
        if history:
            means_of(history)  # raises if no time was measured
        if report is None or not history or report["training"]["steps"] != history[-1]["step"]:
            return ReadRun(folder, config, history, None)
        test = {name: report["test"][name] for name in ("track_accuracy", "track_interval", "tracks")}
        _check_numbers((test["track_accuracy"], *test["track_interval"], test["tracks"]))
        return ReadRun(folder, config, history, Finished(test, str(report["data"]["digest"])))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        what = f"{folder} has a report.json or metrics.jsonl that is damaged or of another version"
        raise UserError(f"{what} ({error!r}): leave it out") from None


def _check_numbers(values: Iterable[Any]) -> None:
    """Raise TypeError or ValueError if a value is not a finite number."""
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"{value} is not finite")


def _text(path: Path) -> str:
    """Read a text file; an empty text if there is none."""
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except UnicodeDecodeError:
        raise UserError(f"{path} is damaged, it is not UTF-8: leave it out") from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): leave it out") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged, a line is no object: leave it out")
    return content


def compare(runs: Sequence[ReadRun]) -> list[dict[str, Any]]:
    """Return a row for each run, which JSON can hold.

    Accuracies can be compared between runs with the same `data`: a letter for each split and set of clips.
    """
    settings = [run.config.to_dict() for run in runs]
    differing = [
        name
        for name in settings[0]
        if name not in SHOWN_APART and any(other[name] != settings[0][name] for other in settings)
    ]
    data, names = [run.data for run in runs], [run.folder.resolve().name for run in runs]
    letters = {own: _letter(number) for number, own in enumerate(dict.fromkeys(data))}
    rows = []
    for run, own, name, of_run in zip(runs, settings, names, data, strict=True):
        best = best_of(run.history) if run.history else {}
        test = run.finished.test if run.finished else {}
        rows.append(
            {
                "run": name if names.count(name) == 1 else str(run.folder),
                "model": run.config.model,
                "augmentation": run.config.augment,
                "settings": {setting: own[setting] for setting in differing},
                "split": run.config.split,
                "data": letters[of_run],
                "finished": run.finished is not None,
                "epochs": run.history[-1]["epoch"] if run.history else 0,
                "steps": run.history[-1]["step"] if run.history else 0,
                "best_epoch": best.get("epoch"),
                "valid_track_accuracy": best.get("valid_track_accuracy"),
                "test_track_accuracy": test.get("track_accuracy"),
                "test_track_interval": test.get("track_interval"),
                "test_tracks": test.get("tracks"),
                **(means_of(run.history) if run.history else {"crops_per_second": None, "data_wait_share": None}),
            }
        )
    return rows


def _letter(number: int) -> str:
    """Return A, B, ..., Z, AA, AB, ...

    >>> _letter(0), _letter(25), _letter(26)
    ('A', 'Z', 'AA')
    """
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def plot(runs: Sequence[ReadRun], rows: Sequence[dict[str, Any]]) -> Figure:
    """Plot the validation accuracy of all runs by step, and their test accuracies with 95 % intervals."""
    height = 1.6 + max(2.6, 0.3 * len(runs))
    figure = Figure(figsize=(12, height), layout="constrained")
    curves, tests = figure.subplots(1, 2, width_ratios=(3, 2))
    for position, (run, row) in enumerate(zip(runs, rows, strict=True)):
        colour = f"C{position % 10}"
        style = ("-", "--", ":", "-.")[position // 10 % 4]
        steps = [own["step"] for own in run.history]
        accuracies = [own["valid_track_accuracy"] for own in run.history]
        curves.plot(steps, accuracies, color=colour, linestyle=style, marker=".", clip_on=False, zorder=3)
        if row["test_track_accuracy"] is not None:
            low, high = row["test_track_interval"]
            tests.plot([low, high], [position, position], color=colour, linestyle=style, clip_on=False)
            tests.plot(row["test_track_accuracy"], position, color=colour, marker="o", clip_on=False)
    several = len({row["data"] for row in rows}) > 1
    names = [f"{row['run']} ({row['data']})" if several else row["run"] for row in rows]
    names = [name + ("" if row["finished"] else ", not finished") for name, row in zip(names, rows, strict=True)]
    tests.set_yticks(range(len(names)), names, parse_math=False)
    for position, text in enumerate(tests.get_yticklabels()):
        text.set_color(f"C{position % 10}")
    tests.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), xlabel="accuracy per track", title="Test, with 95 % interval")
    curves.set(ylim=(0, 1), xlabel="step", ylabel="accuracy per track", title="Validation")
    curves.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    curves.yaxis.set_major_formatter(PercentFormatter(1))
    tests.xaxis.set_major_formatter(PercentFormatter(1))
    for panel in (curves, tests):
        panel.grid(alpha=0.3)
    return figure
