"""Render results of benchmarks/accuracy.py as a table, next to the study's own, and as a plot."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks.lib.common import markdown
from gtzan_stream.training.metrics import interval

Result = dict[str, Any]

PUBLISHED = Path(__file__).parents[1] / "published.csv"
STUDY_CLIPS = {"train": 353, "valid": 150, "test": 227}  # of GTZAN's split `study`
TITLES = {
    "models": "Networks, without and with the study's augmentation",
    "normalization": "Normalisations of the features",
    "optimizer": "Optimisers, each at its own learning rate",
    "augmentation": "The study's augmentations, one alone and all but one",
}
_HEADINGS = {"models": ["network", "augmentation"], "augmentation": ["augmentation", "recipe, network"]}
_OURS = ["steps", "train", "valid", "test, per chunk", "test, per track", "minutes"]


def published() -> dict[tuple[str, str], dict[str, str]]:
    """Load the study's table by network and augmentation: accuracy per chunk in training, validation and test."""
    with PUBLISHED.open(newline="", encoding="utf-8") as file:
        return {(row["model"], row["augment"]): row for row in csv.DictReader(file)}


def section(result: Result) -> str:
    """Render the section of report.md: `text` and the plot."""
    compare = result["settings"]["compare"]
    kind = "cpu" if result["machine"]["device"] == "cpu" else "gpu"
    return f"{text(result)}\n\n![{TITLES[compare]}](results/accuracy-{compare}-{kind}.png)"


def text(result: Result) -> str:
    """Render data, training and machine, the table, and whether the study's columns can be compared with ours."""
    settings = result["settings"]
    parts = [_circumstances(result), markdown(*table(result), words=2)]
    if settings["compare"] == "models":
        parts.append(_comparable(settings))
    return "\n\n".join(parts)


def table(result: Result) -> tuple[list[str], list[list[str]]]:
    """Return columns and cells. In the table of networks, the study's figures come first."""
    compare, seeds = result["settings"]["compare"], result["settings"]["seeds"]
    words = _HEADINGS.get(compare, [compare, "network"])
    rows = [[row["row"], row["column"], *_ours(row, seeds)] for row in result["rows"]]
    if compare != "models":
        return [*words, *_OURS], rows
    theirs = published()
    for row in rows:
        known = theirs.get((row[0], row[1]), {})
        row[2:2] = [
            f"{100 * float(known[part]):.4g} %" if known.get(part) else "" for part in ("train", "valid", "test")
        ]
    return [*words, "study: train", "study: valid", "study: test", *_OURS], rows


def plot(path: Path, result: Result) -> None:
    """Plot each cell's accuracy per track, and its spread over the seeds, to a PNG file."""
    settings, rows = result["settings"], result["rows"]
    names = list(dict.fromkeys(row["row"] for row in rows))
    columns = list(dict.fromkeys(row["column"] for row in rows))
    figure = Figure(figsize=(8, 1.6 + 0.32 * len(names)), layout="constrained")
    panel = figure.subplots()
    for number, column in enumerate(columns):
        cells = [row for row in rows if row["column"] == column]
        shift = 0.3 * (number / max(len(columns) - 1, 1) - 0.5)
        panel.errorbar(
            [row["track_accuracy"][0] for row in cells],
            [names.index(row["row"]) + shift for row in cells],
            xerr=[row["track_accuracy"][1] for row in cells],
            fmt="os^Dv"[number % 5],
            capsize=2,
            label=column,
        )
    panel.axvline(1 / len(settings["labels"]), color="0.6", linestyle="--", linewidth=1, label="chance")
    panel.set_yticks(range(len(names)), names)
    panel.invert_yaxis()
    panel.set(xlim=(0, 1), xlabel=f"test accuracy per track, {settings['dataset']}, split {settings['split']}")
    panel.set_title(TITLES[settings["compare"]], loc="left")
    panel.xaxis.set_major_formatter(PercentFormatter(1))
    panel.grid(alpha=0.3)
    panel.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    FigureCanvasAgg(figure).print_png(path)


def _ours(row: dict[str, Any], seeds: int) -> list[str]:
    shares = [row[f"{name}_accuracy"] for name in ("train", "valid", "chunk", "track")]
    return [f"{row['steps'][0]:,.0f}", *(percent(share, seeds) for share in shares), f"{row['seconds'][0] / 60:.1f}"]


def percent(share: Sequence[float], seeds: int) -> str:
    """Format the mean, and the spread of several seeds: ``61.2 % ± 1.4``."""
    return f"{100 * share[0]:.1f} %" + f" ± {100 * share[1]:.1f}" * (seeds > 1)


def _circumstances(result: Result) -> str:
    settings, machine, rows = result["settings"], result["machine"], result["rows"]
    clips, device = settings["clips"], "CPU" if machine["device"] == "cpu" else machine["device"]
    how = "steps as stated" if settings["steps"] else "train.py's number of steps"
    middle = sorted(row["track_accuracy"][0] for row in rows)[len(rows) // 2]
    low, high = interval(middle * clips["test"], clips["test"])
    spread = "mean and standard deviation over the seeds; " if settings["seeds"] > 1 else ""
    return (
        f"Data set `{settings['dataset']}`, split `{settings['split']}`: {clips['train']} clips to train on, "
        f"{clips['valid']} to validate, {clips['test']} to test, of {len(settings['labels'])} genres. Training: "
        f"{how}, seeds: {settings['seeds']}, on {machine['cores']} cores of {machine['processor']}, {device}, in "
        f"{settings['precision']}. In the table: {spread}`train` is the last epoch's, on crops as augmented, `valid` "
        f"and `test` those of the epoch with the best validation, `minutes` those of a run with its evaluations. An "
        f"accuracy of {100 * middle:.0f} % on {clips['test']} tracks has a 95 % interval of {100 * low:.0f} to "
        f"{100 * high:.0f}."
    )


def _comparable(settings: dict[str, Any]) -> str:
    theirs = "The study's columns are its published ones, per chunk"
    if settings["split"] == "study" and settings["clips"] == STUDY_CLIPS and not settings["steps"]:
        return f"{theirs}, on the same clips."
    clips = "/".join(map(str, STUDY_CLIPS.values()))
    return f"{theirs}, on {clips} clips of eight genres, trained to the end: they cannot be compared with ours here."
