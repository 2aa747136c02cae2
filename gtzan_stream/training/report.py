"""The report of a run: report.json, report.html, and what is printed at its end."""

import json
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from gtzan_stream import crops
from gtzan_stream.atomic import write_text
from gtzan_stream.catalog.splits import PARTS
from gtzan_stream.loader import Loader
from gtzan_stream.words import markdown

REPORT = "report.html"
PACKAGES = ["gtzan-stream", "torch", "torchaudio", "torchvision", "triton", "nnAudio", "nnAudio2", "numpy", "scipy"]
PACKAGES += ["numba", "soundfile", "soxr", "av", "pyarrow", "webdataset", "audiomentations"]
"""Packages whose versions a report has, where they are installed."""


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


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a run uses."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write plain data as indented JSON."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_history(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Write metrics.jsonl: one line for each validation."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in history))


def results(report: dict[str, Any]) -> str:
    """Render the test results as Markdown, which a run prints at its end."""
    config, test = report["config"], report["test"]
    lines = [
        accuracies(test),
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


def accuracies(test: dict[str, Any]) -> str:
    """Render the accuracies of a test as a Markdown table."""
    return "\n".join(
        [
            "| test | accuracy | 95 % interval | of |",
            "|---|---|---|---|",
            _accuracy_row("per track", test["track_accuracy"], test["track_interval"], f"{test['tracks']} tracks"),
            _accuracy_row("per chunk", test["chunk_accuracy"], test["chunk_interval"], f"{test['chunks']} chunks"),
        ]
    )


def _accuracy_row(name: str, accuracy: float, interval: Sequence[float], total: str) -> str:
    return f"| {name} | {accuracy:.1%} | {interval[0]:.1%} to {interval[1]:.1%} | {total} |"


def _label_row(label: str, row: dict[str, Any]) -> str:
    shares = (row["track_recall"], row["chunk_recall"], row["track_precision"])
    cells = " | ".join("" if share is None else f"{share:.0%}" for share in shares)
    return f"| {markdown(label)} | {row['tracks']} | {cells} |"
