"""The report of a run: report.json, and report.md with two plots rendered from it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gtzan_stream import crops
from gtzan_stream.atomic import write_text
from gtzan_stream.catalog.splits import PARTS
from gtzan_stream.inference.png import write_png
from gtzan_stream.loader import Loader
from gtzan_stream.training import plots

REPORT, CURVES, CONFUSION = "report.md", "learning_curves.png", "confusion_matrix.png"


def write(folder: Path, report: dict[str, Any], history: Sequence[dict[str, Any]]) -> Path:
    """Write a run's report into its folder.

    Parameters
    ----------
    folder : Path
    report : dict
        Content of report.json.
    history : sequence of dict
        The rows of metrics.jsonl.

    Returns
    -------
    Path
        The report to read: report.md.
    """
    write_json(folder / "report.json", report)
    write_png(folder / CURVES, plots.learning_curves(history, best_epoch=report["training"]["best_epoch"]))
    write_png(folder / CONFUSION, plots.confusion_matrix(report["test"]["confusion"], list(report["test"]["labels"])))
    path = folder / REPORT
    write_text(path, render(report))
    return path


def describe_data(loader: Loader, split: str) -> dict[str, Any]:
    """Describe the clips of a run: data set, split, clips of each part, and how many are shorter than a crop."""
    manifest = loader.manifest
    clips = {part: manifest.part(split, part) for part in PARTS}
    lengths = manifest.frames[np.concatenate(list(clips.values()))]
    n_short = int(crops.is_shorter_than_crop(lengths, loader.features.geometry).sum())
    return {
        "dataset": manifest.dataset,
        "digest": manifest.digest,
        "split": split,
        "clips": {part: len(numbers) for part, numbers in clips.items()},
        "padded": n_short,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write plain data as indented JSON."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_history(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Write metrics.jsonl: one line per epoch."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in history))


def render(report: dict[str, Any]) -> str:
    """Render the content of report.json as Markdown."""
    config, data, training = (report[name] for name in ("config", "data", "training"))
    lines = [
        f"# {report['run']}",
        "",
        f"{config['model']} ({report['model']['parameters']:,} parameters) on the split `{data['split']}` of "
        f"{data['dataset']}, augmentation `{config['augment']}`, seed {config['seed']}.",
        "",
        results(report),
        f"![Confusion matrix: label against predicted label]({CONFUSION})",
        "",
        "## Training",
        "",
        f"{training['epochs']} epochs, {training['steps']:,} steps of {config['batch_size']}; {training['stopped']}. "
        f"The network of epoch {training['best_epoch']} was kept, the best per chunk on the validation clips.",
        "",
        f"![Learning curves]({CURVES})",
        "",
        f"- {training['crops_per_second']:.0f} crops a second, {training['data_wait_share']:.1%} of the time waiting"
        f" for data, {training['seconds']:.0f} s in all, evaluations included",
        f"- {report['machine']['device']}, {config['precision']}, torch {report['machine']['torch']}",
        "- clips: " + ", ".join(f"{count} {part}" for part, count in data["clips"].items()),
        *(
            [f"- {data['padded']} clips are shorter than the network's input and were padded with silence"]
            * bool(data["padded"])
        ),
        *_skipped(report["skipped"]),
        "",
        "## Settings",
        "",
        "| setting | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in config.items()),
    ]
    return "\n".join(lines) + "\n"


def results(report: dict[str, Any]) -> str:
    """Render the test results as Markdown, which a run also prints at its end."""
    config, test = report["config"], report["test"]
    lines = [
        "| test | accuracy | 95 % interval | of |",
        "|---|---|---|---|",
        _accuracy_row("per track", test["track_accuracy"], test["track_interval"], f"{test['tracks']} tracks"),
        _accuracy_row("per chunk", test["chunk_accuracy"], test["chunk_interval"], f"{test['chunks']} chunks"),
        "",
        f"Evaluated on {'the chunks in the first 23.8 s' if config['chunks'] == 'study' else 'all chunks'} of each"
        " track. A track's predicted label is the one with the highest mean probability over its chunks. Chunks of one"
        " track are not independent, so both intervals are computed for as many examples as there are tracks.",
        "",
        "## Labels",
        "",
        "| label | tracks | recall per track | recall per chunk | precision per track |",
        "|---|---|---|---|---|",
        *(_label_row(label, row) for label, row in test["labels"].items()),
        "",
    ]
    return "\n".join(lines)


def _accuracy_row(name: str, accuracy: float, interval: Sequence[float], total: str) -> str:
    return f"| {name} | {accuracy:.1%} | {interval[0]:.1%} to {interval[1]:.1%} | {total} |"


def _label_row(label: str, row: dict[str, Any]) -> str:
    shares = (row["track_recall"], row["chunk_recall"], row["track_precision"])
    cells = " | ".join("" if share is None else f"{share:.0%}" for share in shares)
    return f"| {label} | {row['tracks']} | {cells} |"


def _skipped(messages: Sequence[str]) -> list[str]:
    if not messages:
        return []
    return ["- Examples were skipped:", *(f"  - {message}" for message in messages)]
